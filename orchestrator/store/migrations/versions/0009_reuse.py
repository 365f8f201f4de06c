"""reuse: prices from files, results taken over from earlier batches, deadlines of batches"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def _big() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "listed_prices",
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("price_class", sa.Text(), nullable=False),
        sa.Column("nanos", _big(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("listed_at", _big(), nullable=False),
        sa.PrimaryKeyConstraint("provider", "price_class"),
    )
    op.add_column("batches", sa.Column("deadline_at", _big(), nullable=True))
    for name, kind in (("reused_from", sa.Text()), ("reused_source", _big())):
        op.add_column("submissions", sa.Column(name, kind, nullable=True))
    _partial("items_succeeded", "items", ["digest"], "state = 'succeeded'")
    _partial(
        "submissions_reused", "submissions", ["batch_id", "task_id"], "reused_from IS NOT NULL"
    )


def _partial(name: str, table: str, columns: list[str], where: str) -> None:
    text = sa.text(where)
    op.create_index(name, table, columns, sqlite_where=text, postgresql_where=text)
