"""sketches: the run times seen, and when tasks are asked about"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def _big() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("submissions", sa.Column("seen_at", _big(), nullable=True))
    op.create_table(
        "run_times",
        sa.Column("id", _big(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("price_class", sa.Text(), nullable=False),
        sa.Column("low", _big(), nullable=False),
        sa.Column("high", _big(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("run_times_by_provider", "run_times", ["provider", "id"])
    op.create_table(
        "sketches",
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("price_class", sa.Text(), nullable=False),
        sa.Column("version", _big(), server_default=sa.text("0"), nullable=False),
        sa.Column("sketch_json", sa.Text(), nullable=False),
        sa.Column("plan_json", sa.Text(), nullable=False),
        sa.Column("folded_at", _big(), nullable=False),
        sa.PrimaryKeyConstraint("provider", "price_class"),
    )
