"""Fine-tuning jobs."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Make the table of fine-tuning jobs."""
    op.create_table(
        "fine_tuning_jobs",
        sa.Column("id", sa.String(64), nullable=False),
        *(sa.Column(name, sa.String(253), nullable=False) for name in ("owner", "key", "model")),
        sa.Column("source", sa.Text, nullable=False),
        *(
            sa.Column(name, sa.String(253), nullable=False)
            for name in ("service", "namespace", "tuned_model")
        ),
        sa.Column("training_file", sa.String(64), nullable=False),
        sa.Column("validation_file", sa.String(64), nullable=True),
        sa.Column("method", sa.Text, nullable=False),
        sa.Column("seed", sa.Integer, nullable=False),
        sa.Column("metadata", sa.Text, nullable=True),
        sa.Column("status", sa.String(24), nullable=False),
        sa.Column("wanted", sa.String(8), nullable=False),
        sa.Column("handed", sa.Boolean, nullable=False),
        sa.Column("settled", sa.Boolean, nullable=False),
        sa.Column("error", sa.Text, nullable=True),
        sa.Column("trained_tokens", sa.BigInteger, nullable=True),
        sa.Column("result_file", sa.String(64), nullable=True),
        sa.Column("created_us", sa.BigInteger, nullable=False),
        *(
            sa.Column(f"{name}_us", sa.BigInteger, nullable=True)
            for name in ("queued", "started", "estimated", "finished")
        ),
        sa.Column("lease", sa.String(64), nullable=True),
        sa.Column("lease_until_us", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_fine_tuning_jobs"),
    )
    op.create_index("ix_fine_tuning_jobs_owner_created_us", "fine_tuning_jobs", ["owner", "created_us"])
    op.create_index("ix_fine_tuning_jobs_settled", "fine_tuning_jobs", ["settled"])
