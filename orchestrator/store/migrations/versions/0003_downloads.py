"""where videos were saved; the latest ends of a batch"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "downloads",
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("submission_id", _BIG, nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("batch_id", _BIG, nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("folded", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("size", _BIG, nullable=True),
        sa.Column("sha256", sa.Text(), nullable=True),
        sa.Column("changed_at", _BIG, nullable=False),
        sa.ForeignKeyConstraint(["submission_id"], ["submissions.id"]),
        sa.ForeignKeyConstraint(["batch_id"], ["batches.id"]),
        sa.PrimaryKeyConstraint("target", "submission_id", "ordinal"),
        sa.UniqueConstraint("target", "folded"),
    )
    op.create_index("downloads_by_batch", "downloads", ["batch_id", "target"])
    op.create_index("downloads_by_submission", "downloads", ["submission_id"])
    op.create_index(
        "submissions_ended",
        "submissions",
        ["batch_id", "finished_at"],
        sqlite_where=sa.text("finished_at IS NOT NULL"),
        postgresql_where=sa.text("finished_at IS NOT NULL"),
    )
    op.create_index("outputs_by_seen", "outputs", ["seen_at", "submission_id", "ordinal"])
