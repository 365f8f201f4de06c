"""under_way: what is told of a batch costs the same however many of its purchases are under way"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

_IN_FLIGHT = sa.text("state IN ('submitting', 'unknown', 'queued', 'processing')")
_UNKNOWN = sa.text("state = 'unknown'")


def upgrade() -> None:
    # The same index with one more column: what used it uses it still.
    op.drop_index("submissions_in_flight", "submissions")
    op.create_index(
        "submissions_in_flight",
        "submissions",
        ["batch_id", "accepted_at"],
        sqlite_where=_IN_FLIGHT,
        postgresql_where=_IN_FLIGHT,
    )
    op.create_index(
        "submissions_unknown",
        "submissions",
        ["batch_id", "first_sent_at"],
        sqlite_where=_UNKNOWN,
        postgresql_where=_UNKNOWN,
    )
