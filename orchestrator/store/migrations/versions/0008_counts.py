"""counts: how many items are in which state, kept by the database itself"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

# One row for each, counted up and down: a writer on SQLite is alone.
_SQLITE = """
CREATE TRIGGER items_counted_{event} AFTER {event} {columns} ON items {when}
BEGIN
    {steps}
END
"""
_STEP = """
INSERT INTO item_counts (revision_id, state, price_class, number)
SELECT {row}.revision_id, {row}.state, {row}.price_class, 0 WHERE NOT EXISTS (
    SELECT 1 FROM item_counts WHERE revision_id = {row}.revision_id
    AND state = {row}.state AND price_class = {row}.price_class);
UPDATE item_counts SET number = number {sign} 1 WHERE revision_id = {row}.revision_id
    AND state = {row}.state AND price_class = {row}.price_class;
"""

# Rows appended, summed when read and folded now and then: writers never wait for each other.
_POSTGRESQL = """
CREATE FUNCTION count_items() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO item_counts (revision_id, state, price_class, number)
        SELECT revision_id, state, price_class, count(*) FROM new_items GROUP BY 1, 2, 3;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO item_counts (revision_id, state, price_class, number)
        SELECT revision_id, state, price_class, -count(*) FROM old_items GROUP BY 1, 2, 3;
    ELSE
        INSERT INTO item_counts (revision_id, state, price_class, number)
        SELECT revision_id, state, price_class, sum(number) FROM (
            SELECT revision_id, state, price_class, 1 AS number FROM new_items
            UNION ALL
            SELECT revision_id, state, price_class, -1 FROM old_items
        ) AS changed GROUP BY 1, 2, 3 HAVING sum(number) <> 0;
    END IF;
    RETURN NULL;
END
$$
"""
_TABLES = {
    "INSERT": "NEW TABLE AS new_items",
    "DELETE": "OLD TABLE AS old_items",
    "UPDATE": "NEW TABLE AS new_items OLD TABLE AS old_items",
}


def _big() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "item_counts",
        sa.Column("id", _big(), nullable=False),
        sa.Column("revision_id", _big(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("price_class", sa.Text(), nullable=False),
        sa.Column("number", _big(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "item_counts_by_revision", "item_counts", ["revision_id", "state", "price_class"]
    )
    op.execute(
        "INSERT INTO item_counts (revision_id, state, price_class, number) "
        "SELECT revision_id, state, price_class, count(*) FROM items GROUP BY 1, 2, 3"
    )
    if op.get_bind().dialect.name == "postgresql":
        op.execute(_POSTGRESQL)
        for event, tables in _TABLES.items():
            op.execute(
                f"CREATE TRIGGER items_counted_{event.lower()} AFTER {event} ON items "
                f"REFERENCING {tables} FOR EACH STATEMENT EXECUTE FUNCTION count_items()"
            )
        return
    more, less = _STEP.format(row="new", sign="+"), _STEP.format(row="old", sign="-")
    for event, columns, when, steps in (
        ("INSERT", "", "", more),
        ("DELETE", "", "", less),
        ("UPDATE", "OF state", "WHEN old.state <> new.state", less + more),
    ):
        op.execute(_SQLITE.format(event=event, columns=columns, when=when, steps=steps))
