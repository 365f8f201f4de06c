"""lineage: whether the database went back, and whose journals it has learned from since"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def _big() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "lineage",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("epoch", sa.Text(), nullable=False),
        sa.Column("system", sa.Text(), nullable=False),
        sa.Column("timeline", _big(), nullable=True),
        sa.Column("noticed_at", _big(), nullable=False),
        sa.Column("closed_at", _big(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "lost_batches",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("purchases", _big(), nullable=False),
        sa.Column("noticed_at", _big(), nullable=False),
        sa.PrimaryKeyConstraint("name", "label", "host"),
    )
    op.add_column("journals", sa.Column("epoch", sa.Text(), nullable=True))
    op.add_column("journals", sa.Column("complete_at", _big(), nullable=True))
    # Who wrote them before knew nothing of this: they are taken as they always were.
    op.execute("UPDATE journals SET complete_at = opened_at")
