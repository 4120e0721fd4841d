"""Usage records, their sums by day, and how far each gateway's journal has been read."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "usage_records",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("started_us", sa.BigInteger, nullable=False),
        sa.Column("instance", sa.String(12), nullable=False),
        sa.Column("closing", sa.BigInteger),
        sa.Column("request_id", sa.String, nullable=False),
        sa.Column("trace_id", sa.String),
        sa.Column("key", sa.String, nullable=False),
        sa.Column("owner", sa.String, nullable=False),
        sa.Column("model", sa.String, nullable=False),
        sa.Column("served_model", sa.String, nullable=False),
        sa.Column("service", sa.String, nullable=False),
        sa.Column("revision", sa.String, nullable=False),
        sa.Column("endpoint", sa.String, nullable=False),
        sa.Column("route", sa.String, nullable=False),
        sa.Column("operation", sa.String, nullable=False),
        sa.Column("batch", sa.String),
        sa.Column("stream", sa.Boolean, nullable=False),
        sa.Column("priority", sa.String, nullable=False),
        sa.Column("status", sa.SmallInteger, nullable=False),
        sa.Column("error", sa.String, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger, nullable=False),
        sa.Column("completion_tokens", sa.BigInteger, nullable=False),
        sa.Column("cached_tokens", sa.BigInteger, nullable=False),
        sa.Column("estimated", sa.Boolean, nullable=False),
        sa.Column("cost_nano", sa.BigInteger, nullable=False),
        sa.Column("authenticated_us", sa.BigInteger),
        sa.Column("limited_us", sa.BigInteger),
        sa.Column("relayed_us", sa.BigInteger),
        sa.Column("sent_us", sa.BigInteger),
        sa.Column("answered_us", sa.BigInteger),
        sa.Column("first_byte_us", sa.BigInteger),
        sa.Column("total_us", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name="pk_usage_records"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_usage_records_request_id", "usage_records", ["request_id"])
    op.create_index("ix_usage_records_instance_closing", "usage_records", ["instance", "closing"])
    op.create_table(
        "usage_days",
        sa.Column("day", sa.Integer, nullable=False),
        sa.Column("owner", sa.String, nullable=False),
        sa.Column("key", sa.String, nullable=False),
        sa.Column("model", sa.String, nullable=False),
        sa.Column("served_model", sa.String, nullable=False),
        sa.Column("revision", sa.String, nullable=False),
        sa.Column("operation", sa.String, nullable=False),
        sa.Column("batched", sa.Boolean, nullable=False),
        sa.Column("instance", sa.String(12), nullable=False),
        sa.Column("requests", sa.BigInteger, nullable=False),
        sa.Column("failed", sa.BigInteger, nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger, nullable=False),
        sa.Column("completion_tokens", sa.BigInteger, nullable=False),
        sa.Column("cached_tokens", sa.BigInteger, nullable=False),
        sa.Column("cost_nano", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint(
            *("day", "owner", "key", "model", "served_model", "revision"),
            *("operation", "batched", "instance"),
            name="pk_usage_days",
        ),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_usage_days_key_day", "usage_days", ["key", "day"])
    op.create_index("ix_usage_days_owner_day", "usage_days", ["owner", "day"])
    op.create_index("ix_usage_days_instance", "usage_days", ["instance"])
    op.create_table(
        "usage_journals",
        sa.Column("instance", sa.String(12), nullable=False),
        sa.Column("seen_us", sa.BigInteger, nullable=False),
        sa.Column("segment", sa.Integer, nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("closed", sa.BigInteger, nullable=False),
        sa.Column("ended_us", sa.BigInteger),
        sa.PrimaryKeyConstraint("instance", name="pk_usage_journals"),
    )
