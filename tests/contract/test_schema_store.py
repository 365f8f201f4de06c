"""Programs and tables that are one release apart, on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import text

from orchestrator.domain.states import State
from orchestrator.errors import ConfigError
from orchestrator.store import schema
from orchestrator.store.engine import Store
from orchestrator.store.tables import SCHEMA
from tests.support.stores import Shelf, accepted

NEXT = f"{int(SCHEMA) + 1:04}"
OLDER = f"{int(SCHEMA) - 1:04}"


@contextmanager
def marked(store: Store, revision: str, floor: str = SCHEMA) -> Iterator[None]:
    """The tables as another release has left them."""

    def mark(revision: str, floor: str) -> None:
        with store.write() as tx:
            tx.conn.execute(text("UPDATE alembic_version SET version_num = :r"), {"r": revision})
            tx.conn.execute(text("DELETE FROM schema_floor"))
            tx.conn.execute(text("INSERT INTO schema_floor VALUES (1, :r)"), {"r": floor})

    mark(revision, floor)
    try:
        yield
    finally:
        mark(SCHEMA, SCHEMA)


def test_a_program_goes_on_with_tables_that_only_gained(shelf: Shelf) -> None:
    store = shelf.store
    with marked(store, NEXT):
        with store.write() as tx:
            tx.conn.execute(text("ALTER TABLE submissions ADD COLUMN hereafter TEXT"))
            tx.conn.execute(text("ALTER TABLE items ADD COLUMN hereafter TEXT DEFAULT 'x'"))
        try:
            schema.check(store)
            assert not schema.is_old(store)
            assert schema.upgrade(store) == (NEXT, NEXT)
            shelf.publish("a")
            assert shelf.buy("a", accepted()).life.state is State.QUEUED
        finally:
            with store.write() as tx:
                for table in ("submissions", "items"):
                    tx.conn.execute(text(f"ALTER TABLE {table} DROP COLUMN hereafter"))


@pytest.mark.parametrize(
    ("revision", "floor"), [(NEXT, NEXT), (NEXT, "strange"), ("strange", SCHEMA)]
)
def test_a_program_that_is_too_old_says_so(store: Store, revision: str, floor: str) -> None:
    with marked(store, revision, floor):
        for refused in (schema.check, schema.upgrade, schema.is_old):
            with pytest.raises(ConfigError, match="newer than this program") as caught:
                refused(store)
            assert caught.value.code == "schema_newer"
            assert "Install the release" in caught.value.mend


def test_a_program_that_is_newer_says_what_to_do(store: Store) -> None:
    with marked(store, OLDER):
        assert schema.is_old(store)
        with pytest.raises(ConfigError, match=f"older revision .{OLDER}.") as caught:
            schema.check(store)
        assert "orchestrator db upgrade" in caught.value.mend
