"""A worker puts back what the database has forgotten, before it sends anything."""

from __future__ import annotations

import contextlib
import shutil
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator import journal
from orchestrator.domain.batch import Wanted
from orchestrator.errors import NeedsPersonError, ServiceError
from orchestrator.services import control, dispatch, finishing, intake, status
from orchestrator.services.context import Context
from orchestrator.services.rejoining import Rejoiner
from orchestrator.store import batches, lineage, workers
from orchestrator.store.batches import Batch
from orchestrator.store.claims import Chunk
from orchestrator.store.engine import Store
from tests.support.migrated import migrated_on
from tests.support.postgres import postgres_server
from tests.support.shop import Shop, accept


@pytest.fixture
def shop(tmp_path: Path, broker: str) -> Iterator[Shop]:
    made = Shop(tmp_path, broker, accept)
    yield made
    made.store.close()


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    with postgres_server() as url:
        yield migrated_on(url)


class Kept:
    """A copy of the database as it was, and its return."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self._file = shop.folder / "kept.db"
        with shop.store.engine.connect() as conn:
            conn.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        shutil.copy(shop.folder / "shop.db", self._file)

    def comes_back(self) -> None:
        self._shop.store.close()
        for path in self._shop.folder.glob("shop.db*"):
            path.unlink()
        shutil.copy(self._file, self._shop.folder / "shop.db")


def context_of(shop: Shop) -> Context:
    return replace(shop.context, journal_dir=shop.journal)


def rejoiner(shop: Shop, grace: int = 0) -> Rejoiner:
    return Rejoiner(
        context_of(shop),
        socket.gethostname(),
        own=lambda: None,
        quiet=contextlib.nullcontext,
        grace=grace,
    )


def now(shop: Shop, batch: Batch) -> Batch:
    with shop.store.read() as tx:
        return batches.get(tx, batch.id)


def test_purchases_that_the_database_forgot_are_put_back(shop: Shop) -> None:
    batch = shop.submit(6)
    shop.buy(shop.due(batch)[:2])
    kept = Kept(shop)
    shop.buy(shop.due(batch)[:3])
    kept.comes_back()
    assert rejoiner(shop).run_once()
    assert shop.counts(batch) == {"queued": 5, "pending": 1}
    shop.buy(shop.due(batch))
    assert len(set(shop.posts)) == len(shop.posts) == 6


def test_nothing_is_sent_or_taken_back_before_all_journals_are_in(shop: Shop) -> None:
    batch = shop.submit(6)
    shop.buy(shop.due(batch)[:2])
    kept = Kept(shop)
    shop.buy(shop.due(batch)[:3])
    kept.comes_back()
    assert not rejoiner(shop, grace=3_600_000).run_once()
    assert shop.buy(shop.due(batch)) == 0, "a message that was on its way claims nothing"
    sent: list[Chunk] = []
    with shop.store.write() as tx:
        workers.seen(tx, "w", processes=1, submits=True)
    dispatch.run_once(shop.context, sent.append)
    assert sent == []
    with shop.store.read() as tx:
        told = status.read(tx, shop.context, now(shop, batch)).as_json()["gate"]
    assert isinstance(told, dict)
    assert told["reason"] == "database_went_back"
    writer = journal.JournalWriter(shop.journal)
    with pytest.raises(ServiceError, match="went back"):
        control.cancel(shop.context, writer, batch)
    with pytest.raises(ServiceError, match="went back"):
        shop.submit(7)
    control.pause(shop.context, writer, batch)
    writer.close()
    assert finishing.run_once(shop.context) == 0
    assert len(shop.posts) == 5


def test_a_journal_that_was_not_closed_is_merged_at_the_next_start(shop: Shop) -> None:
    batch = shop.submit(3)
    shop.buy(shop.due(batch))
    look = rejoiner(shop)
    assert look.run_once()
    with shop.store.read() as tx:
        found = lineage.read(tx)
    assert found is not None
    assert found.closed_at is None, "nothing was missing, so nothing had to wait"
    assert look.reports == []
    assert look._ended_files() == []


def test_a_word_that_the_database_forgot_counts_again(shop: Shop) -> None:
    batch = shop.submit(3)
    kept = Kept(shop)
    writer = journal.JournalWriter(shop.journal)
    control.pause(shop.context, writer, batch)
    writer.close()
    kept.comes_back()
    assert now(shop, batch).wanted is Wanted.OPEN
    rejoiner(shop).run_once()
    assert now(shop, batch).wanted is Wanted.PAUSED


def test_a_finished_batch_that_bought_more_is_open_again(shop: Shop) -> None:
    batch = shop.submit(2)
    control_word = journal.JournalWriter(shop.journal)
    control.cancel(shop.context, control_word, batch)
    control_word.close()
    finishing.run_once(shop.context)
    rejoiner(shop).run_once()
    kept = Kept(shop)
    control_word = journal.JournalWriter(shop.journal)
    control.resume(shop.context, control_word, batch, None)
    control_word.close()
    shop.buy(shop.due(batch))
    kept.comes_back()
    assert now(shop, batch).finished_at is not None
    rejoiner(shop).run_once()
    again = now(shop, batch)
    assert (again.finished_at, again.wanted) == (None, Wanted.OPEN)
    assert shop.counts(batch) == {"queued": 2}


def test_a_batch_that_only_a_journal_knows_is_made_by_nobody(shop: Shop) -> None:
    kept = Kept(shop)
    batch = shop.submit(2)
    shop.buy(shop.due(batch))
    kept.comes_back()
    rejoiner(shop).run_once()
    elsewhere = shop.folder / "elsewhere"
    with pytest.raises(NeedsPersonError, match="knows purchases of shop@default") as caught:
        intake.take_in(
            context_of_other(shop, elsewhere),
            shop.folder / "shop.csv",
            options=lambda _spec: intake.Options("shop", "default"),
            confirm=lambda _proposal: True,
        )
    assert caught.value.code == "recover_first"
    assert len(shop.posts) == 2


def context_of_other(shop: Shop, journal_dir: Path) -> Context:
    """Another machine, whose journal knows nothing."""
    return replace(shop.context, journal_dir=journal_dir)


def test_who_sees_it_first_stops_the_others_before_writing_anything(
    tmp_path: Path, broker: str, postgres: str
) -> None:
    shop, other = Shop(tmp_path, broker, accept, url=postgres), Store(postgres)
    look = rejoiner(shop)
    assert look.run_once()
    with shop.store.read():
        seen = shop.store.last_sighting
    assert seen is not None
    shop.store.trust(replace(seen, position=seen.position + 1_000_000_000))
    with shop.store.write(), other.read() as tx:
        noticed = lineage.read(tx)
    assert noticed is not None
    assert noticed.reason == "the database's log ends earlier than it did"
    assert look.run_once(), "its journals are in"
    with other.read() as tx:
        after = lineage.read(tx)
    assert after is not None
    assert (after.closed_at, after.epoch) == (None, noticed.epoch)
    other.close()
    shop.store.close()
