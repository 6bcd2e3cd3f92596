"""Add repairs and their outcomes."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Change the ledger's tables."""
    with op.batch_alter_table("requests", schema=None) as batch_op:
        batch_op.add_column(sa.Column("repair", sa.String(), server_default="retrain", nullable=False))
        batch_op.add_column(sa.Column("outcome", sa.JSON().with_variant(sa.Text(), "postgresql"), nullable=True))
