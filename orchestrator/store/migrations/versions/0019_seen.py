"""seen: rows forget readings that were dropped, whose ids the next reading would get"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        sa.text(
            "UPDATE items SET seen_revision_id = revision_id "
            "WHERE seen_revision_id > (SELECT coalesce(max(id), 0) FROM revisions)"
        )
    )
