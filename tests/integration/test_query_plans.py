"""Finished work costs live work nothing: no hot query reads a whole table of items or purchases."""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, text

from orchestrator.domain.account import Account, Accounts
from orchestrator.domain.in_flight import InFlight
from orchestrator.domain.states import State
from orchestrator.services import (
    dispatch,
    finishing,
    gatekeeping,
    learning,
    notifying,
    overview,
    polling,
    rescue,
    status,
    submission,
)
from orchestrator.services.measuring import Measurer
from orchestrator.store import batches, claims, steering, views, workers
from orchestrator.store.claims import Chunk
from orchestrator.store.engine import Store
from tests.support import finished
from tests.support.migrated import migrated_on
from tests.support.postgres import postgres_server
from tests.support.shop import Shop, accept

FINISHED = 20_000
LARGE = ("items", "submissions", "outputs", "history", "inputs")
_LIVE = "open|claimable|unknown|due|leased|in_flight|by_lease|waiting"
"""Indexes of what is under way; they do not grow with what has ended."""
_WHOLE = {
    "sqlite": re.compile(
        rf"SCAN ({'|'.join(LARGE)})\b(?! USING (?:COVERING )?INDEX \w*_(?:{_LIVE}))"
    ),
    "postgresql": re.compile(rf"Seq Scan on ({'|'.join(LARGE)})\b"),
}


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    with postgres_server() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def shop(request: pytest.FixtureRequest, tmp_path: Path, broker: str) -> Iterator[Shop]:
    url = None
    if request.param == "postgresql":
        url = migrated_on(request.getfixturevalue("postgres"))
    made = Shop(tmp_path, broker, accept, url=url)
    limit = InFlight(1_000, {"kling-v2-6": 900})
    ours = Account("default", "acc", requests_per_second=500, in_flight=limit)
    accounts = Accounts((ours, Account("team", "tea")))
    made.context = replace(made.context, accounts=accounts)
    yield made
    made.store.close()


def fill(shop: Shop) -> None:
    """Many batches of finished rows, as if all of them had been bought."""
    shop.submit(1, name="first")
    with shop.store.write() as tx:
        tx.conn.execute(text("UPDATE items SET state = 'withdrawn'"))
    finished.fill(shop.store, FINISHED)


@contextmanager
def watched(store: Store) -> Iterator[dict[str, Any]]:
    """Each statement that is executed, with parameters it had."""
    seen: dict[str, Any] = {}

    def note(_c: Any, _cursor: Any, statement: str, parameters: Any, _x: Any, many: bool) -> None:
        if (
            statement.startswith(("SELECT", "UPDATE", "DELETE", "WITH"))
            and "/* test */" not in statement
        ):
            seen[statement] = parameters[0] if many else parameters

    event.listen(store.engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(store.engine, "before_cursor_execute", note)


def whole_reads(store: Store, seen: dict[str, Any]) -> list[str]:
    """Statements whose plan reads one of the large tables from end to end."""
    prefix = "EXPLAIN QUERY PLAN " if store.is_sqlite else "EXPLAIN "
    bad = _WHOLE[store.engine.dialect.name]
    found = []
    with store.engine.connect() as conn:
        for statement, parameters in seen.items():
            lines = conn.exec_driver_sql(prefix + statement, parameters).all()
            plan = "\n".join(str(line[-1]) for line in lines)
            if bad.search(plan):
                found.append(f"{statement}\n{plan}")
    return found


def work(shop: Shop) -> None:
    """One of everything that workers and people do while a batch runs."""
    batch = shop.submit(60, name="live")
    chunks: list[Chunk] = []
    tokens: list[str] = []
    with shop.store.write() as tx:
        workers.seen(tx, "w", processes=1, submits=True)
    dispatch.run_once(shop.context, chunks.append)
    for chunk in chunks:
        asyncio.run(
            shop.with_desk(
                lambda desk, chunk=chunk: submission.run_chunk(  # type: ignore[misc]
                    desk, chunk.id, chunk.item_ids, probe=chunk.probe
                )
            )
        )
    for _ in range(2):
        with shop.store.write() as tx:
            tx.conn.execute(text("UPDATE /* test */ submissions SET due_at = 0"))
        polling.run_once(shop.context, lambda token, *_: tokens.append(token))
        for token in tokens:
            shop.poll(token)
    assert shop.posts, "something was bought"
    rescue.run_once(shop.context)
    finishing.run_once(shop.context)
    learning.run_once(shop.context)
    notifying.run_once(shop.context, [lambda _id, _body, _at: True], random.random)
    list(overview.rows(shop.context))
    assert len(Measurer(shop.context, lambda: None).families()) > 20
    asyncio.run(shop.with_desk(gatekeeping.probe_once))
    with shop.store.read() as tx:
        status.read(tx, shop.context, batches.get(tx, batch.id))


def test_no_hot_query_reads_a_whole_table(shop: Shop) -> None:
    fill(shop)
    with watched(shop.store) as seen:
        work(shop)
    assert len(seen) > 40
    bad = whole_reads(shop.store, seen)
    assert not bad, f"{len(bad)} of {len(seen)}:\n\n" + "\n\n".join(bad)


def plan_of(store: Store, seen: dict[str, Any], words: str, *, sorted_reads: bool = True) -> str:
    """The plan of the one statement with these words. Not `sorted_reads`: where there are so few
    rows that reading and sorting them looks as cheap as an index."""
    ((statement, parameters),) = [one for one in seen.items() if words in one[0]]
    prefix = "EXPLAIN QUERY PLAN " if store.is_sqlite else "EXPLAIN "
    with store.engine.connect() as conn:
        if not (sorted_reads or store.is_sqlite):
            conn.exec_driver_sql("SET enable_bitmapscan = off")
        lines = conn.exec_driver_sql(prefix + statement, parameters).all()
    return "\n".join(str(line[-1]) for line in lines)


_COVERED = {
    "sqlite": "SEARCH submissions USING INDEX submissions_in_flight_of (account=?)",
    "postgresql": "Index Only Scan using submissions_in_flight_of",
}


_BY_ID = {
    "sqlite": "SEARCH items USING INTEGER PRIMARY KEY",
    "postgresql": "Index Scan using items_pkey",
}


def test_what_is_in_flight_is_counted_in_an_index_of_just_that(shop: Shop) -> None:
    fill(shop)
    with watched(shop.store) as seen, shop.store.read() as tx:
        assert claims.in_flight(tx, "acc") == {}
    plan = plan_of(shop.store, seen, "price_class", sorted_reads=False)
    assert _COVERED[shop.store.engine.dialect.name] in plan


def test_what_is_asked_again_is_found_without_looking_at_what_waits(shop: Shop) -> None:
    batch = shop.submit(2_000, name="waiting")
    with shop.store.write() as tx:
        tx.conn.execute(text("ANALYZE"))
    with watched(shop.store) as seen, shop.store.read() as tx:
        assert claims.next_items(tx, batch.id, 50, state=State.UNKNOWN, accounts=["acc"]) == []
    plan = plan_of(shop.store, seen, "FROM items")
    assert "items_unknown" in plan, plan


@pytest.mark.parametrize("told", ["nothing", "of what was before", "when most is sent"])
def test_the_next_rows_are_read_in_their_order_and_no_others(shop: Shop, told: str) -> None:
    """Whatever the database was told of its rows, and when."""
    sent = "UPDATE items SET state = 'queued', submission_id = id WHERE position <= "
    for name in ("before", "and before"):
        shop.submit(3_000, name=name)
    with shop.store.write() as tx:
        tx.conn.execute(text(f"{sent} 3000"))
    if told == "of what was before":
        finished.analyse(shop.store)
    batch = shop.submit(3_000, name="waiting")
    with shop.store.write() as tx:
        tx.conn.execute(text(f"{sent} 2700"))
    if told == "when most is sent":
        finished.analyse(shop.store)
    with watched(shop.store) as seen, shop.store.read() as tx:
        found = claims.next_items(tx, batch.id, 50, state=State.PENDING)
    assert [one.position for one in found] == list(range(2701, 2751))
    plan = plan_of(shop.store, seen, "FROM items")
    assert "items_claimable" in plan, plan
    assert not re.search("Sort|Bitmap Heap Scan on items|TEMP B-TREE", plan), plan


def test_a_claim_reads_its_own_rows_however_many_wait(shop: Shop) -> None:
    """Although nothing waited when the database last looked."""
    fill(shop)
    finished.analyse(shop.store)
    batch = shop.submit(3_000, name="waiting")
    with watched(shop.store) as seen, shop.store.write() as tx:
        ids = [item.item_id for item in claims.next_items(tx, batch.id, 50)]
        assert [item.item_id for item in claims.candidates(tx, ids)] == ids
        claims.release(tx, ids)
    for words in ("items.row_key", "UPDATE items"):
        plan = plan_of(shop.store, seen, words)
        assert _BY_ID[shop.store.engine.dialect.name] in plan, plan


def test_why_rows_failed_is_read_of_those_alone(shop: Shop) -> None:
    batch = shop.submit(2_000, name="mostly fine")
    with shop.store.write() as tx:
        tx.conn.execute(text("UPDATE items SET state = 'succeeded'"))
        tx.conn.execute(text("UPDATE items SET state = 'failed' WHERE position < 4"))
    with watched(shop.store) as seen, shop.store.read() as tx:
        assert [number for *_, number in views.failures(tx, batch.id)] == [3]
        steering.retryable(tx, batch.id, codes=[], rows=[], max_generations=3)
    for words in ("error_message", "items.generation"):
        plan = plan_of(shop.store, seen, words)
        assert "items_ended_badly" in plan, plan


def test_a_reserved_row_stays_on_its_page(shop: Shop) -> None:
    """Where it moves, each index of items gets an entry for it."""
    if shop.store.is_sqlite:
        pytest.skip("a row of SQLite has no versions")
    batch = shop.submit(500, name="waiting")
    pages = text("SELECT id, (ctid::text::point)[0] FROM items ORDER BY id")
    with shop.store.write() as tx:
        before = tx.conn.execute(pages).all()
        ids = [item.item_id for item in claims.next_items(tx, batch.id, 500)]
        chunk = Chunk("c", batch.id, "waiting", tuple(ids), 1, 500)
        claims.reserve(tx, chunk, until=tx.now + 1)
        assert tx.conn.execute(pages).all() == before
    assert len(before) == 500


def test_plans_are_made_by_what_is_there_now(shop: Shop) -> None:
    """PostgreSQL looks at its tables again long before a tenth of millions of rows has changed."""
    if shop.store.is_sqlite:
        pytest.skip("SQLite looks at nothing by itself")
    fill(shop)
    looks = text("SELECT autoanalyze_count FROM pg_stat_user_tables WHERE relname = 'submissions'")
    with shop.store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        conn.execute(text("ALTER SYSTEM SET autovacuum_naptime = '1s'"))
        conn.execute(text("SELECT pg_reload_conf()"))
        try:
            conn.execute(text("ANALYZE"))
            before = conn.execute(looks).scalar_one()
            conn.execute(text("UPDATE submissions SET due_at = 1 WHERE id % 50 = 0"))
            while conn.execute(looks).scalar_one() == before:
                time.sleep(0.2)
        finally:
            # The other tests of this server decide by themselves when it looks.
            conn.execute(text("ALTER SYSTEM RESET autovacuum_naptime"))
            conn.execute(text("SELECT pg_reload_conf()"))
