"""Databases with this release's tables: migrating one takes longer than most tests."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

from sqlalchemy import make_url

from orchestrator.store import schema
from orchestrator.store.engine import Store
from tests.support.postgres import fresh_database


def migrated(file: Path) -> str:
    """The URL of `file`, which is made from one that this process has migrated, if it is new."""
    if not file.exists():
        file.write_bytes(_template())
    return f"sqlite:///{file}"


def migrated_on(server_url: str) -> str:
    """The URL of a new database on a PostgreSQL, made from one that this process has migrated."""
    return fresh_database(server_url, template=_template_on(server_url))


@cache
def _template_on(server_url: str) -> str:
    url = make_url(fresh_database(server_url))
    _migrate(url.render_as_string(hide_password=False))
    return url.database or ""


@cache
def _template() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "template.db"
        _migrate(f"sqlite:///{file}")
        return file.read_bytes()


def _migrate(url: str) -> None:
    store = Store(url)
    schema.upgrade(store)
    store.close()
