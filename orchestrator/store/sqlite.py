"""SQLite: one file, many readers, one writer at a time, and how writers wait for their turn."""

from __future__ import annotations

import sqlite3
import time
from typing import cast

from sqlalchemy import Connection, Engine, create_engine, event

BUSY_SECONDS = 30.0
AT_FIRST_SECONDS = 0.001
AT_MOST_SECONDS = 0.005
"""Between two looks whether the writer before has come to its end. SQLite's own waits grow to a
tenth of a second, in which several other writers come and go: a transaction takes a few
milliseconds."""


def make_engine(url: str) -> Engine:
    """Every transaction begins as what it is: a reader, or the writer."""
    engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS})
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return engine


def make_room(conn: Connection) -> None:
    """Let this connection keep more of the pages at hand, for a great many rows to come.

    Digests fall anywhere in their index: with the usual 2 MB, each group of rows writes most of
    its pages out once more.
    """
    conn.exec_driver_sql("PRAGMA cache_size=-65536")
    conn.exec_driver_sql("PRAGMA wal_autocheckpoint=8000")


def _prepare(connection: sqlite3.Connection, _record: object) -> None:
    # The driver's own BEGIN is deferred; `_begin` says which one is meant.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _begin(conn: Connection) -> None:
    # Read-then-write under a deferred BEGIN fails at once when another writer came between.
    if not conn.get_execution_options().get("writes", False):
        conn.exec_driver_sql("BEGIN")
        return
    driver = cast("sqlite3.Connection", conn.connection.driver_connection)
    driver.execute("PRAGMA busy_timeout=0")
    try:
        _wait_for_turn(driver)
        # Begun already, unless it failed: then the failure is told as every other is.
        if not driver.in_transaction:
            conn.exec_driver_sql("BEGIN IMMEDIATE")
    finally:
        driver.execute(f"PRAGMA busy_timeout={round(BUSY_SECONDS * 1000)}")


def _wait_for_turn(driver: sqlite3.Connection) -> None:
    """Begin as the writer as soon as there is no other; gives up after BUSY_SECONDS."""
    end = time.monotonic() + BUSY_SECONDS
    wait = AT_FIRST_SECONDS
    while True:
        try:
            driver.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if not busy or time.monotonic() > end:
                return
        else:
            return
        time.sleep(wait)
        wait = min(wait * 1.2, AT_MOST_SECONDS)
