"""Count labelled rows and wake-ups."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Change the ledger's tables."""
    with op.batch_alter_table("partitions", schema=None) as batch_op:
        batch_op.add_column(sa.Column("labelled", sa.Integer(), server_default="0", nullable=False))
    # Until now a day waited for all its labels.
    op.execute("UPDATE partitions SET labelled = rows WHERE status = 'published'")

    with op.batch_alter_table("publications", schema=None) as batch_op:
        batch_op.add_column(sa.Column("woken", sa.Integer(), server_default="0", nullable=False))
        batch_op.add_column(sa.Column("woken_at", sa.DateTime(timezone=True), nullable=True))

    with op.batch_alter_table("releases", schema=None) as batch_op:
        batch_op.add_column(sa.Column("woken", sa.Integer(), server_default="0", nullable=False))
        batch_op.add_column(sa.Column("woken_at", sa.DateTime(timezone=True), nullable=True))

    with op.batch_alter_table("requests", schema=None) as batch_op:
        batch_op.add_column(sa.Column("woken", sa.Integer(), server_default="0", nullable=False))
        batch_op.add_column(sa.Column("woken_at", sa.DateTime(timezone=True), nullable=True))
