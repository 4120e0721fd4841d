"""The tables of batches."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    ForeignKey,
    Integer,
    String,
    Table,
    Text,
    select,
)

from slipway.gateway.storage.tables import metadata

ACTIVE = ("validating", "in_progress", "finalizing", "cancelling")

batches = Table(
    "batches",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("owner", String(253), nullable=False, index=True),
    Column("key", String(253), nullable=False),
    Column("endpoint", String(64), nullable=False),
    Column("input_file", String(64), nullable=False),
    Column("output_file", String(64), nullable=True),
    Column("error_file", String(64), nullable=True),
    Column("status", String(16), nullable=False, index=True),
    Column("metadata", Text, nullable=True),
    Column("errors", Text, nullable=True),
    Column("model", String(253), nullable=True),
    Column("created_us", BigInteger, nullable=False),
    Column("expires_us", BigInteger, nullable=False),
    Column("in_progress_us", BigInteger, nullable=True),
    Column("finalizing_us", BigInteger, nullable=True),
    Column("completed_us", BigInteger, nullable=True),
    Column("failed_us", BigInteger, nullable=True),
    Column("expired_us", BigInteger, nullable=True),
    Column("cancelling_us", BigInteger, nullable=True),
    Column("cancelled_us", BigInteger, nullable=True),
    Column("total", Integer, nullable=False, default=0),
    Column("completed", Integer, nullable=False, default=0),
    Column("failed", Integer, nullable=False, default=0),
    Column("input_tokens", BigInteger, nullable=False, default=0),
    Column("cached_tokens", BigInteger, nullable=False, default=0),
    Column("output_tokens", BigInteger, nullable=False, default=0),
    Column("lease", String(64), nullable=True),
    Column("lease_until_us", BigInteger, nullable=False, default=0),
)

results = Table(
    "batch_results",
    metadata,
    Column("batch", String(64), ForeignKey("batches.id", ondelete="CASCADE"), primary_key=True),
    Column("line", Integer, primary_key=True),
    Column("ok", Boolean, nullable=False),
    Column("record", Text, nullable=False),
)


def reads_file(connection: Connection, file: str) -> str | None:
    """A batch that is not done with a file yet, if there is one."""
    query = select(batches.c.id).where(batches.c.input_file == file, batches.c.status.in_(ACTIVE))
    return connection.scalar(query.limit(1))
