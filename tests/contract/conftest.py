"""Fixtures of the tests that share one database: making one takes longer than most of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from orchestrator.store import schema
from orchestrator.store import tables as t
from orchestrator.store.engine import Store
from tests.support.postgres import fresh_database, postgres_server
from tests.support.stores import Clock, Shelf


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    with postgres_server() as url:
        yield url


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Store]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('store') / 'store.db'}"
    else:
        url = fresh_database(request.getfixturevalue("postgres"))
    opened = Store(url, clock=Clock())
    schema.upgrade(opened)
    yield opened
    opened.close()


@pytest.fixture
def shelf(store: Store) -> Shelf:
    """The database emptied, with one batch in it."""
    with store.write() as tx:
        for table in reversed(t.METADATA.sorted_tables):
            tx.conn.execute(table.delete())
    clock = store._clock
    assert isinstance(clock, Clock)
    return Shelf(store, clock)
