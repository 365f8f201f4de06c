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
    """Raises ConfigError where the tables are missing, older or newer than this release."""
    found = current(store)
    if found == SCHEMA:
        return
    _refuse_newer(found)
    what = "has no tables yet" if found is None else f"is at an older revision ({found})"
    raise ConfigError(f"the database {what}", mend="Run `orchestrator db upgrade`.", code="schema")


def is_old(store: Store) -> bool:
    """Whether there is something to upgrade. Raises ServiceError."""
    return current(store) != SCHEMA


def upgrade(store: Store) -> tuple[str | None, str]:
    """Migrate to this release's revision; returns (before, after). Raises ConfigError if newer."""
    from alembic import command
    from alembic.config import Config

    with store.write(LONG) as tx:
        if tx.locks_rows:
            tx.conn.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        before = _revision(tx.conn)
        _refuse_newer(before)
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


def _refuse_newer(found: str | None) -> None:
    """Revisions are numbered; one that is no number, or a higher one, is not from here."""
    if found is not None and (not found.isdigit() or int(found) > int(SCHEMA)):
        raise ConfigError(
            f"the database is newer than this program (revision {found}, this one knows {SCHEMA})",
            mend="Install the release that made it, or a later one.",
            code="schema_newer",
        )
