"""The tables of keys and owners that were made through the API, and of the audit log."""

from sqlalchemy import BigInteger, Column, Integer, String, Table, Text

from slipway.gateway.storage.tables import metadata

api_keys = Table(
    "api_keys",
    metadata,
    Column("name", String(253), primary_key=True),
    Column("owner", String(253), nullable=False, index=True),
    Column("spec", Text, nullable=False),
    Column("key_hash", String(64), nullable=False, unique=True),
    Column("previous_hash", String(64), nullable=True),
    Column("previous_until_us", BigInteger, nullable=True),
    Column("created_us", BigInteger, nullable=False),
    Column("created_by", String(253), nullable=False),
    Column("maker", String(253), nullable=True, index=True),  # The member whose key made it, and bounds it.
)

owners = Table(
    "owners",
    metadata,
    Column("name", String(253), primary_key=True),
    Column("spec", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("created_by", String(253), nullable=False),
)

changes = Table(
    "identity_changes",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("counter", BigInteger, nullable=False),
)

audit_log = Table(
    "audit_log",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("at_us", BigInteger, nullable=False, index=True),
    Column("actor", String(253), nullable=False),
    Column("actor_owner", String(253), nullable=False),
    Column("action", String(64), nullable=False),
    Column("target", String(253), nullable=False),
    Column("request_id", String(64), nullable=False),
    Column("details", Text, nullable=True),
)
