"""canary: rows that go first, and how many may go at all"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def _big() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("batches", sa.Column("row_limit", _big(), nullable=True))
    op.add_column(
        "batches", sa.Column("sent_rows", _big(), server_default=sa.text("0"), nullable=False)
    )
    op.add_column("batches", sa.Column("canary_phase", sa.Text(), nullable=True))
    op.add_column("batches", sa.Column("canary_json", sa.Text(), nullable=True))
    op.create_table(
        "canaries",
        sa.Column("item_id", _big(), nullable=False),
        sa.Column("batch_id", _big(), nullable=False),
        sa.ForeignKeyConstraint(["batch_id"], ["batches.id"]),
        sa.ForeignKeyConstraint(["item_id"], ["items.id"]),
        sa.PrimaryKeyConstraint("item_id"),
    )
    op.create_index("canaries_by_batch", "canaries", ["batch_id"])
    op.execute(
        "UPDATE batches SET sent_rows = (SELECT count(*) FROM submissions "
        "WHERE submissions.batch_id = batches.id AND generation = 0)"
    )
