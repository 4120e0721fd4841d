"""Whether feedback may be learned from; before, whoever sent its conversation had agreed."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add the consent, and which version answered."""
    with op.batch_alter_table("feedback") as feedback:
        feedback.add_column(sa.Column("consent", sa.Boolean, nullable=False, server_default=sa.false()))
        empty = sa.text("''")
        feedback.add_column(sa.Column("revision", sa.String(253), nullable=False, server_default=empty))
    op.execute("UPDATE feedback SET consent = (messages IS NOT NULL)")
