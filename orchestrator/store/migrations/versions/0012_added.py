"""added: whoever adds items counts them; a trigger for each took longer than the rows themselves"""

from __future__ import annotations

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    table = " ON items" if op.get_bind().dialect.name == "postgresql" else ""
    op.execute(f"DROP TRIGGER items_counted_insert{table}")
