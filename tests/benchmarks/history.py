"""What live work costs beside finished work: the same at a thousand finished rows and at millions.

Each operation runs beside so many finished rows, made by the database itself; told are its
milliseconds (the median) and, on PostgreSQL, the pages of tables and indexes that it touched, which
no other load on the machine changes. `python -m tests.benchmarks.history --postgres --rows 5000000`
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import text

from orchestrator.domain.submission import after_submit
from orchestrator.services import dispatch, finishing, polling, rescue, status, submission
from orchestrator.services.desk import Desk
from orchestrator.services.submission import ClaimedChunk
from orchestrator.store import batches, lives, workers
from orchestrator.store.batches import Batch
from orchestrator.store.claims import Chunk
from orchestrator.store.engine import Store
from tests.support import finished
from tests.support.postgres import fresh_database, postgres_server
from tests.support.shop import Shop, accept
from tests.support.stores import accepted
from tests.support.valkey import short_directory, valkey_server

ROUNDS = 10
CHUNK = 50
_PAGES = text("""
SELECT coalesce(sum(heap_blks_hit + heap_blks_read + coalesce(idx_blks_hit + idx_blks_read, 0)
  + coalesce(toast_blks_hit + toast_blks_read, 0)), 0) FROM pg_statio_user_tables
""")


@dataclass
class Figures:
    """Operation -> milliseconds and pages of each run."""

    times: dict[str, list[float]] = field(default_factory=dict)
    pages: dict[str, list[int]] = field(default_factory=dict)

    def time_of(self, name: str) -> float:
        return statistics.median(self.times[name])

    def pages_of(self, name: str) -> float:
        return statistics.median(self.pages.get(name, [0]))


@dataclass
class Life:
    """One live batch, worked at beside whatever else is in the database."""

    shop: Shop
    batch: Batch
    figures: Figures = field(default_factory=Figures)

    @contextmanager
    def measured(self, name: str) -> Iterator[None]:
        before = pages(self.shop.store)
        began = time.perf_counter()
        yield
        self.figures.times.setdefault(name, []).append((time.perf_counter() - began) * 1000)
        if before is not None:
            touched = (pages(self.shop.store) or 0) - before
            self.figures.pages.setdefault(name, []).append(touched)

    def round(self) -> None:
        """A chunk's way: dispatched, claimed, recorded, asked about; and the ticks beside it."""
        shop, chunks, tokens = self.shop, list[Chunk](), list[str]()
        with self.measured("dispatch tick"):
            dispatch.run_once(shop.context, chunks.append)
        for chunk in chunks:
            self._buy(chunk)
        with shop.store.write() as tx:
            tx.conn.execute(text("UPDATE submissions SET due_at = 0 WHERE state = 'queued'"))
        with self.measured("poll tick, claim of 100"):
            polling.run_once(shop.context, lambda token, _number, *_: tokens.append(token))
        for token in tokens:
            self._end(token)
        for name, tick in (("finish tick", finishing.run_once), ("rescue tick", rescue.run_once)):
            with self.measured(name):
                tick(shop.context)
        with self.measured("status"), shop.store.read() as tx:
            status.read(tx, shop.context, batches.get(tx, self.batch.id))

    def _buy(self, chunk: Chunk) -> None:
        held: list[ClaimedChunk] = []

        async def claim(desk: Desk) -> int:
            with self.measured(f"claim of {CHUNK}"):
                got = submission.claim_chunk(desk, chunk.id, chunk.item_ids, probe=False)
            held.extend([] if got is None else [got])
            return 0

        asyncio.run(self.shop.with_desk(claim))
        for got in held:
            decided = [
                (
                    one.stored,
                    after_submit(
                        one.stored.life,
                        accepted(task_id=f"task-{one.stored.id}"),
                        now=got.now,
                        policy=self.shop.context.policy,
                        jitter=0.5,
                        others_passed=False,
                    ),
                )
                for one in got.claims
            ]
            with self.measured(f"record of {CHUNK}"), self.shop.store.write() as tx:
                lives.still_leased(tx, got.lease.token, [stored.id for stored, _ in decided])
                lives.record(tx, decided, actor="bench")

    def _end(self, token: str) -> None:
        with self.shop.store.write() as tx:
            tx.conn.execute(
                text(
                    "UPDATE submissions SET state = 'succeeded', finished_at = 3, hold_nanos = 0, "
                    "lease_token = NULL WHERE lease_token = :token"
                ),
                {"token": token},
            )


def pages(store: Store) -> int | None:
    """Pages of tables and indexes touched so far; None where the database does not tell."""
    if store.is_sqlite:
        return None
    with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        conn.execute(text("SELECT pg_stat_force_next_flush()"))
        return int(conn.execute(_PAGES).scalar_one())


def measure(shop: Shop, rows: int, rounds: int = ROUNDS) -> Figures:
    """Work at a live batch beside so many finished rows."""
    finished.fill(shop.store, rows)
    if not shop.store.is_sqlite:
        with shop.store.write() as tx:
            # Who tidies up meanwhile would be counted along.
            for table in ("items", "submissions", "history", "inputs", "item_counts"):
                tx.conn.exec_driver_sql(f"ALTER TABLE {table} SET (autovacuum_enabled = false)")
    batch = shop.submit(CHUNK * 2 * (rounds + 2), name="live")
    with shop.store.write() as tx:
        workers.seen(tx, "w", processes=1, submits=True)
    life = Life(shop, batch)
    life.round()
    life.figures = Figures()
    for _ in range(rounds):
        with shop.store.write() as tx:
            workers.seen(tx, "w", processes=1, submits=True)
        life.round()
    return life.figures


def run(number: int, *, postgres: str | None, broker: str, rounds: int = ROUNDS) -> Figures:
    """One database with so many finished rows."""
    with tempfile.TemporaryDirectory() as folder:
        url = fresh_database(postgres) if postgres else None
        shop = Shop(Path(folder), broker, accept, url=url)
        try:
            return measure(shop, number, rounds)
        finally:
            shop.store.close()


def report(few: int = 1_000, many: int = 100_000, *, postgres: bool = False) -> None:
    """The table of both, with ratios."""
    with ExitStack() as stack:
        server = stack.enter_context(postgres_server()) if postgres else None
        place = stack.enter_context(short_directory())
        broker = str(stack.enter_context(valkey_server(place)).url)
        small = run(few, postgres=server, broker=broker)
        large = run(many, postgres=server, broker=broker)
    database = "PostgreSQL" if postgres else "SQLite"
    print(f"{database}, beside finished rows: {few:,} and {many:,}; medians of {ROUNDS}")
    print("| operation | ms | ms | ratio | pages | pages | ratio |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name in small.times:
        print(_line(name, small, large))


def _line(name: str, small: Figures, large: Figures) -> str:
    parts = [name, *_pair(small.time_of, large.time_of, name, "{:.1f}")]
    if small.pages:
        parts += _pair(small.pages_of, large.pages_of, name, "{:.0f}")
    else:
        parts += ["", "", ""]
    return f"| {' | '.join(parts)} |"


def _pair(
    one: Callable[[str], float], other: Callable[[str], float], name: str, form: str
) -> list[str]:
    a, b = one(name), other(name)
    return [form.format(a), form.format(b), f"{b / a:.2f}" if a else "1.00"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--few", type=int, default=1_000)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--postgres", action="store_true")
    arguments = parser.parse_args()
    report(arguments.few, arguments.rows, postgres=arguments.postgres)


if __name__ == "__main__":
    main()
