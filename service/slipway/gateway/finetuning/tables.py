"""The table of fine-tuning jobs."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Index,
    Integer,
    String,
    Table,
    Text,
    or_,
    select,
)

from slipway.gateway.storage.tables import metadata

ACTIVE = ("validating_files", "queued", "running", "paused")

jobs = Table(
    "fine_tuning_jobs",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("owner", String(253), nullable=False),
    Column("key", String(253), nullable=False),
    Column("model", String(253), nullable=False),
    Column("source", Text, nullable=False),  # Of the base model's weights.
    Column("service", String(253), nullable=False),  # The LLMService that gets the adapter.
    Column("namespace", String(253), nullable=False),
    Column("tuned_model", String(253), nullable=False),
    Column("training_file", String(64), nullable=False),
    Column("validation_file", String(64), nullable=True),
    Column("method", Text, nullable=False),  # JSON, with every `auto` resolved.
    Column("seed", Integer, nullable=False),
    Column("metadata", Text, nullable=True),
    Column("status", String(24), nullable=False),
    Column("wanted", String(8), nullable=False),  # run, pause or cancel: what the FineTune is steered to.
    Column("handed", Boolean, nullable=False),  # There is a FineTune of it.
    Column("settled", Boolean, nullable=False),  # Nothing is left to do for it.
    Column("error", Text, nullable=True),
    Column("trained_tokens", BigInteger, nullable=True),
    Column("result_file", String(64), nullable=True),
    Column("created_us", BigInteger, nullable=False),
    Column("queued_us", BigInteger, nullable=True),
    Column("started_us", BigInteger, nullable=True),
    Column("estimated_us", BigInteger, nullable=True),
    Column("finished_us", BigInteger, nullable=True),
    Column("lease", String(64), nullable=True),
    Column("lease_until_us", BigInteger, nullable=False),
    Index("ix_fine_tuning_jobs_owner_created_us", "owner", "created_us"),
    Index("ix_fine_tuning_jobs_settled", "settled"),
)


def reads_file(connection: Connection, file: str) -> str | None:
    """A job that is not done with a file yet, if there is one."""
    reads = or_(jobs.c.training_file == file, jobs.c.validation_file == file)
    return connection.scalar(select(jobs.c.id).where(reads, jobs.c.status.in_(ACTIVE)).limit(1))
