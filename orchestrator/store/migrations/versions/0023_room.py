"""room: writing an item touches fewer indexes; reserving one on PostgreSQL touches none"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

_ENDED_BADLY = sa.text(
    "(state = 'failed' OR state = 'cancelled' OR state = 'rejected' OR state = 'invalid') "
    "AND 'any' = 'any'"
)


def upgrade() -> None:
    op.create_index(
        "items_ended_badly",
        "items",
        ["batch_id", "position"],
        sqlite_where=_ENDED_BADLY,
        postgresql_where=_ENDED_BADLY,
    )
    # These were written at each change of a state; PostgreSQL also took them for the next rows to
    # be sent, and then read and sorted all that wait.
    op.drop_index("items_by_state", "items")
    op.drop_index("items_open", "items")
    if op.get_bind().dialect.name == "postgresql":
        # A row's new version stays on its page, so that no index has to be told where it is.
        op.execute("ALTER TABLE items SET (fillfactor = 50)")
        # Mostly one of each: what it counted when there were few makes it read all of them later.
        op.execute("ALTER TABLE submissions ALTER COLUMN item_id SET (n_distinct = -1)")
