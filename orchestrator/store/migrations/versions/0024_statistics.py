"""statistics: PostgreSQL looks at items and purchases when a hundredth of them has changed"""

from __future__ import annotations

from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        # A tenth, which is its default, is several batches where millions have ended: it would
        # choose plans for those under way by what it knew before they came.
        for table in ("items", "submissions"):
            op.execute(f"ALTER TABLE {table} SET (autovacuum_analyze_scale_factor = 0.01)")
