"""what recovery needs: lapses, retries, registered journals"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "journals",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column(
            "opened_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.PrimaryKeyConstraint("name"),
    )
    op.add_column(
        "batches",
        sa.Column("retries", sa.Integer(), server_default=sa.text("0"), nullable=False),
    )
    op.add_column(
        "batches",
        sa.Column(
            "max_price_nanos", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True
        ),
    )
    op.add_column(
        "submissions",
        sa.Column("lapses", sa.Integer(), server_default=sa.text("0"), nullable=False),
    )
    op.add_column(
        "submissions",
        sa.Column("gatings", sa.Integer(), server_default=sa.text("0"), nullable=False),
    )
    op.create_index(
        "submissions_waiting",
        "submissions",
        ["batch_id"],
        unique=False,
        sqlite_where=sa.text("needs_person IS NOT NULL"),
        postgresql_where=sa.text("needs_person IS NOT NULL"),
    )
