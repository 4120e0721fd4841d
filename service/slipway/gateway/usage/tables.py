"""The tables of usage: a row a request, sums a day, and how far each gateway's journal has been read.

Texts have no length, so that no record is refused for what a name is; those that do not apply are "".
"""

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, SmallInteger, String, Table

from slipway.gateway.storage.tables import metadata

DAY_US = 86_400_000_000

usage_records = Table(
    "usage_records",
    metadata,
    Column("id", String(32), primary_key=True),  # Begins with `started_us` in hex, so it sorts by time.
    Column("started_us", BigInteger, nullable=False),
    Column("instance", String(12), nullable=False),
    Column("closing", BigInteger),  # Its number among the requests that the gateway has counted.
    Column("request_id", String, nullable=False, index=True),
    Column("trace_id", String),
    Column("key", String, nullable=False),
    Column("owner", String, nullable=False),
    Column("model", String, nullable=False),  # As the client asked for it.
    Column("served_model", String, nullable=False),
    Column("service", String, nullable=False),
    Column("revision", String, nullable=False),
    Column("endpoint", String, nullable=False),
    Column("route", String, nullable=False),
    Column("operation", String, nullable=False),
    Column("batch", String),
    Column("stream", Boolean, nullable=False),
    Column("priority", String, nullable=False),
    Column("status", SmallInteger, nullable=False),
    Column("error", String, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("prompt_tokens", BigInteger, nullable=False),
    Column("completion_tokens", BigInteger, nullable=False),
    Column("cached_tokens", BigInteger, nullable=False),
    Column("estimated", Boolean, nullable=False),
    Column("cost_nano", BigInteger, nullable=False),
    # Microseconds after the start; null for a point that was not reached.
    Column("authenticated_us", BigInteger),
    Column("limited_us", BigInteger),
    Column("relayed_us", BigInteger),
    Column("sent_us", BigInteger),
    Column("answered_us", BigInteger),
    Column("first_byte_us", BigInteger),
    Column("total_us", BigInteger),
    Index("ix_usage_records_instance_closing", "instance", "closing"),
    sqlite_with_rowid=False,
)

usage_days = Table(
    "usage_days",
    metadata,
    Column("day", Integer, primary_key=True),  # Of the request's start: days since 1970, UTC.
    Column("owner", String, primary_key=True),
    Column("key", String, primary_key=True),
    Column("model", String, primary_key=True),
    Column("served_model", String, primary_key=True),
    Column("revision", String, primary_key=True),
    Column("operation", String, primary_key=True),
    Column("batched", Boolean, primary_key=True),
    # Gateways that write at the same time never wait for each other's rows.
    Column("instance", String(12), primary_key=True),
    Column("requests", BigInteger, nullable=False),
    Column("failed", BigInteger, nullable=False),
    Column("prompt_tokens", BigInteger, nullable=False),
    Column("completion_tokens", BigInteger, nullable=False),
    Column("cached_tokens", BigInteger, nullable=False),
    Column("cost_nano", BigInteger, nullable=False),
    Index("ix_usage_days_key_day", "key", "day"),
    Index("ix_usage_days_owner_day", "owner", "day"),
    Index("ix_usage_days_instance", "instance"),
    sqlite_with_rowid=False,
)

usage_journals = Table(
    "usage_journals",
    metadata,
    Column("instance", String(12), primary_key=True),
    Column("seen_us", BigInteger, nullable=False),  # When its recorder first read it.
    Column("segment", Integer, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("closed", BigInteger, nullable=False),
    Column("ended_us", BigInteger),  # Set once its gateway is gone and all of it is here.
)

SUMS = ("requests", "failed", "prompt_tokens", "completion_tokens", "cached_tokens", "cost_nano")
"""The columns of `usage_days` that are added up."""
