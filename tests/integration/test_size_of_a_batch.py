"""What ticks and people ask of a batch costs the same with ten times the purchases in it."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, text

from orchestrator.services import dispatch, finishing, notifying, overview, polling, rescue, status
from orchestrator.store import batches, workers
from orchestrator.store.batches import Batch
from orchestrator.store.engine import Store
from tests.benchmarks.history import pages
from tests.support.finished import analyse
from tests.support.migrated import migrated_on
from tests.support.postgres import postgres_server
from tests.support.shop import Shop, accept

FEW, MANY = 600, 6_000
SLACK = {"sqlite": 400, "postgresql": 60}
"""Steps of SQLite's machine, and pages: an index may be a level higher, a moment later."""
_HOUR = 3_600_000


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    with postgres_server() as url:
        yield url


def bought(shop: Shop, rows: int) -> Batch:
    """A batch of which half is under way, to be asked about in an hour, and half has ended."""
    batch = shop.submit(rows, name="large")
    now = time.time_ns() // 1_000_000
    with shop.store.write() as tx:
        tx.conn.execute(
            text(
                "INSERT INTO submissions (batch_id, item_id, generation, idempotency_key, account,"
                " price_class, state, tries, conflicts, polls, unresolved, first_sent_at,"
                " accepted_at, seen_at, finished_at, due_at, hold_nanos, task_id)"
                " SELECT batch_id, id, 0, 'key_' || id, 'acc', price_class,"
                " CASE WHEN position % 2 = 0 THEN 'queued' ELSE 'succeeded' END,"
                " 1, 0, 0, false, :now, :now, :now,"
                " CASE WHEN position % 2 = 0 THEN NULL ELSE :now END, :due, 0, 'task_' || id"
                " FROM items"
            ),
            {"now": now, "due": now + _HOUR},
        )
        tx.conn.execute(
            text(
                "UPDATE items SET state = s.state, submission_id = s.id FROM submissions s"
                " WHERE s.item_id = items.id"
            )
        )
        workers.seen(tx, "w", processes=1, submits=True)
    analyse(shop.store)
    return batch


@contextmanager
def measured(store: Store, figures: dict[str, int], name: str) -> Iterator[None]:
    """Keep how much the database did meanwhile, which no other load on the machine changes."""
    if not store.is_sqlite:
        before = pages(store) or 0
        yield
        figures[name] = (pages(store) or 0) - before
        return
    steps = 0

    def step() -> int:
        nonlocal steps
        steps += 1
        return 0

    def watch(conn: Any, *_: Any) -> None:
        conn.connection.dbapi_connection.set_progress_handler(step, 1)

    event.listen(store.engine, "before_cursor_execute", watch)
    try:
        yield
    finally:
        event.remove(store.engine, "before_cursor_execute", watch)
    figures[name] = steps


def figures_of(shop: Shop, rows: int) -> dict[str, int]:
    batch = bought(shop, rows)
    told: dict[str, int] = {}
    ticks = {
        "dispatch": lambda: dispatch.run_once(shop.context, lambda _chunk: None),
        "poll": lambda: polling.run_once(shop.context, lambda *_: None),
        "finish": lambda: finishing.run_once(shop.context),
        "rescue": lambda: rescue.run_once(shop.context),
        "notify": lambda: notifying.run_once(shop.context, [], random.random),
        "overview": lambda: list(overview.rows(shop.context)),
    }
    for name, tick in ticks.items():
        tick()  # what is made once is made
        with measured(shop.store, told, name):
            tick()
    with measured(shop.store, told, "status"), shop.store.read() as tx:
        found = status.read(tx, shop.context, batches.get(tx, batch.id))
    assert found.total == rows
    return told


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_it_costs_the_same(
    database: str, tmp_path: Path, broker: str, request: pytest.FixtureRequest
) -> None:
    found = []
    for rows in (FEW, MANY):
        folder = tmp_path / str(rows)
        folder.mkdir()
        url = None
        if database == "postgresql":
            url = migrated_on(request.getfixturevalue("postgres"))
        shop = Shop(folder, broker, accept, url=url)
        try:
            found.append(figures_of(shop, rows))
        finally:
            shop.store.close()
    small, large = found
    assert all(small.values())
    grown = {
        name: (small[name], large[name])
        for name in small
        if large[name] > 1.3 * small[name] + SLACK[database]
    }
    assert grown == {}
