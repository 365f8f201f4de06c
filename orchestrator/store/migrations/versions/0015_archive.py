"""archive: batches that keep only what recognises and adds up; when an input was last given"""

from __future__ import annotations

import time

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def _big() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("batches", sa.Column("archived_at", _big(), nullable=True))
    # As old as can be said of what is there, without touching each row.
    now = sa.text(str(time.time_ns() // 1_000_000))
    op.add_column("inputs", sa.Column("used_at", _big(), nullable=False, server_default=now))
    op.create_index("inputs_by_use", "inputs", ["used_at"])
    image = sa.text("image IS NOT NULL")
    op.create_index(
        "inputs_by_image", "inputs", ["image"], sqlite_where=image, postgresql_where=image
    )
