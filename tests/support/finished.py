"""Many finished rows in a database, made by the database itself, as if all had been bought."""

from __future__ import annotations

from sqlalchemy import Connection, text

from orchestrator.store.engine import Store

COLUMNS: dict[str, dict[str, str]] = {
    "batches": {
        "id": "100 + i", "name": "'b' || i", "label": "'l'", "namespace": "''", "key_version": "1",
        "provider": "'http://127.0.0.1:1/api/v1'", "wanted": "'open'", "columns": "'[]'",
        "created_at": "1", "published_at": "1", "finished_at": "1",
    },
    "revisions": {
        "id": "100 + i", "batch_id": "100 + i", "state": "'published'", "source": "'s'",
        "actor": "'me'", "created_at": "1",
    },
    "inputs": {"digest": "'d' || i", "model": "'kling-v2-6'", "input_json": "'{{}}'"},
    "items": {
        "id": "1000 + i", "batch_id": "100 + 1 + i / 100 % {batches}",
        "revision_id": "100 + 1 + i / 100 % {batches}",
        "seen_revision_id": "101", "position": "i", "row_key": "'r' || i", "digest": "'d' || i",
        "model": "'kling-v2-6'", "price_class": "'std'", "source": "'{{}}'", "state": "'succeeded'",
        "submission_id": "1000 + i", "updated_at": "1",
    },
    "submissions": {
        "id": "1000 + i", "batch_id": "100 + 1 + i / 100 % {batches}", "item_id": "1000 + i",
        "generation": "0", "idempotency_key": "'k' || i", "account": "'acc'",
        "price_class": "'std'", "state": "'succeeded'", "tries": "1", "conflicts": "0",
        "polls": "3", "unresolved": "false", "accepted_at": "1", "finished_at": "2",
        "task_id": "'t' || i", "actual_nanos": "5",
    },
    "outputs": {"submission_id": "1000 + i", "ordinal": "0", "url": "'u'", "seen_at": "i"},
    "history": {
        "batch_id": "101", "item_id": "1000 + i", "event": "'x'", "actor": "'a'",
        "at": "1",
    },
}  # fmt: skip
STEP = 250_000
"""Rows to a statement: a million triggers' worth of memory is too much at once."""


def fill(store: Store, rows: int) -> None:
    """`rows` finished rows in batches of a hundred rows, and their share of the other tables."""
    batches = max(1, rows // 100)
    for table, columns in COLUMNS.items():
        number = batches if table in ("batches", "revisions") else rows
        for start in range(0, number, STEP):
            with store.write() as tx:
                _unbarred(tx.conn)
                _insert(tx.conn, table, columns, start, min(start + STEP, number), batches)
    with store.write() as tx:
        tx.conn.execute(
            text(
                "INSERT INTO item_counts (revision_id, state, price_class, number) "
                "SELECT revision_id, state, price_class, count(*) FROM items WHERE id > 1000 "
                "GROUP BY 1, 2, 3"
            )
        )
        if not store.is_sqlite:
            for table in ("batches", "revisions", "items", "submissions"):
                name = f"pg_get_serial_sequence('{table}', 'id')"
                tx.conn.exec_driver_sql(f"SELECT setval({name}, (SELECT max(id) FROM {table}))")
    analyse(store)


def _unbarred(conn: Connection) -> None:
    """Rows that are known to fit are not looked at one by one."""
    if conn.dialect.name == "postgresql":
        conn.exec_driver_sql("SET LOCAL session_replication_role = replica")
        conn.exec_driver_sql("SET LOCAL synchronous_commit = off")
        conn.exec_driver_sql("SET LOCAL statement_timeout = 0")


def _insert(
    conn: Connection, table: str, columns: dict[str, str], start: int, end: int, batches: int
) -> None:
    numbers = (
        "generate_series(:start + 1, :end) AS n(i)"
        if conn.dialect.name == "postgresql"
        else "(WITH RECURSIVE s(i) AS (SELECT :start + 1 UNION ALL SELECT i + 1 FROM s "
        "WHERE i < :end) SELECT i FROM s) AS n"
    )
    values = ", ".join(columns.values()).format(batches=batches)
    statement = f"INSERT INTO {table} ({', '.join(columns)}) SELECT {values} FROM {numbers}"
    conn.execute(text(statement), {"start": start, "end": end})


def analyse(store: Store) -> None:
    """An embedded SQLite is never analysed: its plans must be right without."""
    if not store.is_sqlite:
        with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
            conn.execute(text("VACUUM ANALYZE"))
