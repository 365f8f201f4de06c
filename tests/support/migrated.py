"""SQLite databases with this release's tables: migrating one takes longer than most tests."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

from orchestrator.store import schema
from orchestrator.store.engine import Store


def migrated(file: Path) -> str:
    """The URL of `file`, which is made from one that this process has migrated, if it is new."""
    if not file.exists():
        file.write_bytes(_template())
    return f"sqlite:///{file}"


@cache
def _template() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "template.db"
        store = Store(f"sqlite:///{file}")
        schema.upgrade(store)
        store.close()
        return file.read_bytes()
