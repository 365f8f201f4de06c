"""accounts: a batch's account by name, what an account has under way"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

POLLED = "state IN ('queued', 'processing')"
IN_FLIGHT = "state IN ('submitting', 'unknown', 'queued', 'processing')"


def upgrade() -> None:
    op.add_column(
        "batches", sa.Column("account", sa.Text(), nullable=False, server_default="default")
    )
    op.add_column("chunks", sa.Column("account", sa.Text(), nullable=True))
    big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.add_column("chunks", sa.Column("rows", big, nullable=False, server_default="0"))
    op.drop_index("submissions_due", "submissions")
    _partial("submissions_due", ["account", "due_at"], POLLED)
    _partial("submissions_in_flight_of", ["account", "price_class"], IN_FLIGHT)


def _partial(name: str, columns: list[str], where: str) -> None:
    text = sa.text(where)
    op.create_index(name, "submissions", columns, sqlite_where=text, postgresql_where=text)
