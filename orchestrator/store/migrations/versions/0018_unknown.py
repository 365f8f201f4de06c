"""unknown: the rows to be asked again are found without looking at those that wait behind them"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

_WHERE = sa.text("state = 'unknown'")


def upgrade() -> None:
    op.create_index(
        "items_unknown",
        "items",
        ["batch_id", "position"],
        sqlite_where=_WHERE,
        postgresql_where=_WHERE,
    )
