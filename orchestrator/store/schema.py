"""Bringing the tables up to this release, and refusing what is newer than it."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from orchestrator.errors import ConfigError
from orchestrator.store.engine import Store
from orchestrator.store.patience import LONG
from orchestrator.store.tables import SCHEMA

_LOCK = 0x6F726368
"""PostgreSQL's advisory lock for migrations: two that start together take turns."""


def current(store: Store) -> str | None:
    """The database's revision; None for an empty one. Raises ServiceError."""
    with store.read() as tx:
        return _revision(tx.conn)


def check(store: Store) -> None:
    """Raises ConfigError where the tables are missing, older, or too new for this release."""
    with store.read() as tx:
        found = _revision(tx.conn)
        if found == SCHEMA or _is_ahead(tx.conn, found):
            return
    what = "has no tables yet" if found is None else f"is at an older revision ({found})"
    raise ConfigError(
        f"the database {what}, this program needs {SCHEMA}",
        mend="Run `orchestrator db upgrade`. Workers of the last release may go on meanwhile.",
        code="schema",
    )


def is_old(store: Store) -> bool:
    """Whether there is something to upgrade. Raises ServiceError; ConfigError if too new."""
    with store.read() as tx:
        found = _revision(tx.conn)
        return found != SCHEMA and not _is_ahead(tx.conn, found)


def upgrade(store: Store) -> tuple[str | None, str]:
    """Migrate to this release's revision; returns (before, after).

    One that a newer release has upgraded stays as it is. Raises ConfigError if it is too new.
    """
    from alembic import command
    from alembic.config import Config

    with store.write(LONG) as tx:
        if tx.locks_rows:
            tx.conn.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        before = _revision(tx.conn)
        if before is not None and _is_ahead(tx.conn, before):
            return before, before
        if before != SCHEMA:
            config = Config()
            config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
            config.set_main_option("path_separator", "os")
            config.attributes["connection"] = tx.conn
            command.upgrade(config, "head")
    return before, SCHEMA


def _revision(conn: Connection) -> str | None:
    if not inspect(conn).has_table("alembic_version"):
        return None
    found = conn.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
    return None if found is None else str(found)


def _is_ahead(conn: Connection, found: str | None) -> bool:
    """Whether a newer release upgraded the tables, in ways that this program need not know of.

    Revisions are numbered; one that is no number is not from here. Raises ConfigError where this
    program is too old for them.
    """
    if found is not None and found.isdigit() and int(found) <= int(SCHEMA):
        return False
    if found is None:
        return False
    floor = _floor(conn) if found.isdigit() else None
    if floor is not None and floor.isdigit() and int(floor) <= int(SCHEMA):
        return True
    raise ConfigError(
        f"the database is newer than this program (revision {found}, this one knows {SCHEMA})",
        mend="Install the release that made it, or a later one.",
        code="schema_newer",
    )


def _floor(conn: Connection) -> str | None:
    """The oldest revision whose programs may work with these tables; None where none is said."""
    if not inspect(conn).has_table("schema_floor"):
        return None
    query = text("SELECT revision FROM schema_floor WHERE id = 1")
    return conn.execute(query).scalar_one_or_none()
