"""lateness: how late the ends of tasks were noticed, by price class"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    column = sa.Column("late_json", sa.Text(), nullable=False, server_default=sa.text("'null'"))
    op.add_column("sketches", column)
