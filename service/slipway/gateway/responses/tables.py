"""The tables of responses and of the events of those that are streamed from the background."""

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, Integer, String, Table, Text

from slipway.gateway.storage.tables import metadata

WORKING = ("queued", "in_progress")

responses = Table(
    "responses",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("owner", String(253), nullable=False),
    Column("key", String(253), nullable=False),
    Column("status", String(16), nullable=False),
    Column("background", Boolean, nullable=False),
    Column("stream", Boolean, nullable=False),
    Column("previous", String(64), nullable=True),
    Column("created_us", BigInteger, nullable=False),
    Column("expires_us", BigInteger, nullable=False),
    Column("gateway", String(64), nullable=True),
    Column("lease_until_us", BigInteger, nullable=True),
    Column("size", BigInteger, nullable=False),
    Column("input", Text, nullable=False),
    Column("response", Text, nullable=False),
    Index("ix_responses_expires_us", "expires_us"),
    Index("ix_responses_lease_until_us", "lease_until_us"),
)

events = Table(
    "response_events",
    metadata,
    Column("response", String(64), ForeignKey("responses.id", ondelete="CASCADE"), primary_key=True),
    Column("sequence", Integer, primary_key=True, autoincrement=False),
    Column("data", Text, nullable=False),
)
