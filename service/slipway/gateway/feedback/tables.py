"""The table of feedback."""

from sqlalchemy import BigInteger, Boolean, Column, Index, String, Table, Text, false, text

from slipway.gateway.storage.tables import metadata

feedback = Table(
    "feedback",
    metadata,
    Column(
        "id", String(64), primary_key=True
    ),  # Made of request and key: each key says one thing of a request.
    Column("request_id", String(64), nullable=False, index=True),
    Column("key", String(253), nullable=False),
    Column("owner", String(253), nullable=False),
    Column("model", String(253), nullable=False),
    Column("rating", String(8), nullable=False),
    Column("comment", Text, nullable=True),
    Column("expected", Text, nullable=True),
    Column("messages", Text, nullable=True),  # JSON; only where the caller sent it.
    Column("consent", Boolean, nullable=False, server_default=false()),  # It may be learned from.
    Column("revision", String(253), nullable=False, server_default=text("''")),  # Of an adapter: its version.
    Column("created_us", BigInteger, nullable=False),
    Index("ix_feedback_owner_created_us", "owner", "created_us"),
    Index("ix_feedback_created_us", "created_us"),
)
