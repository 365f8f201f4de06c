"""conditions: SQLite's partial indexes and counts take less work for each row that is written"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

# Of an IN of more than two SQLite makes a table for each row that it writes; of an OR it does not.
# What is always so is added: else it would take such an index for a query of one state alone.
_IN_FLIGHT = sa.text(
    "(state = 'submitting' OR state = 'unknown' OR state = 'queued' OR state = 'processing') "
    "AND 'any' = 'any'"
)
_OPEN_ITEM = sa.text(
    "(state = 'pending' OR state = 'submitting' OR state = 'unknown' "
    "OR state = 'queued' OR state = 'processing') AND 'any' = 'any'"
)
_INDEXES = (
    ("items_open", "items", ["batch_id"], _OPEN_ITEM),
    ("submissions_in_flight", "submissions", ["batch_id", "accepted_at"], _IN_FLIGHT),
    ("submissions_in_flight_of", "submissions", ["account", "price_class"], _IN_FLIGHT),
)
# What an item was is counted already, and mostly so is another of what it becomes.
_COUNTED = """
CREATE TRIGGER items_counted_UPDATE AFTER UPDATE OF state ON items WHEN old.state <> new.state
BEGIN
    UPDATE item_counts SET number = number - 1 WHERE revision_id = old.revision_id
        AND state = old.state AND price_class = old.price_class;
    UPDATE item_counts SET number = number + 1 WHERE revision_id = new.revision_id
        AND state = new.state AND price_class = new.price_class;
    INSERT INTO item_counts (revision_id, state, price_class, number)
        SELECT new.revision_id, new.state, new.price_class, 1 WHERE changes() = 0;
END
"""


def upgrade() -> None:
    """On PostgreSQL both are the same condition, and the same index; it counts by statement."""
    if op.get_bind().dialect.name != "sqlite":
        return
    for name, table, columns, condition in _INDEXES:
        op.drop_index(name, table)
        op.create_index(name, table, columns, sqlite_where=condition)
    op.execute("DROP TRIGGER items_counted_UPDATE")
    op.execute(_COUNTED)
