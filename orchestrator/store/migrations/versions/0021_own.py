"""own: what a reading says of the own columns of a known row waits for its publication"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

_EDITED = sa.text("seen_source IS NOT NULL")


def upgrade() -> None:
    op.add_column("items", sa.Column("seen_source", sa.Text(), nullable=True))
    op.create_index(
        "items_edited",
        "items",
        ["batch_id"],
        sqlite_where=_EDITED,
        postgresql_where=_EDITED,
    )
