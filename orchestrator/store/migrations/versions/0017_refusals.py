"""refusals: what was in flight when the provider last refused more"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "refusals",
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("at", big, nullable=False),
        sa.Column("number", big, nullable=False),
        sa.Column("hold", big, nullable=False),
        sa.PrimaryKeyConstraint("provider", "account", "model"),
    )
