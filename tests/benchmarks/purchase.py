"""What the journal costs: the whole way of a purchase in one process, with it and without.

The provider answers at once, so that the journal's share is as large as it can be.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from orchestrator.journal import JournalWriter, Record
from orchestrator.services import submission
from orchestrator.services.desk import Desk
from orchestrator.store import claims
from tests.support.shop import Shop, accept
from tests.support.valkey import short_directory, valkey_server

ROWS = 2_000
CHUNK = 50
ROUNDS = 3


class NoJournal(JournalWriter):
    """Remembers nothing."""

    def append(self, records: Sequence[Record]) -> None:
        """Nothing is written."""


class NoSync(JournalWriter):
    """Writes, but does not wait for the disk."""

    def _write(self, data: bytes) -> None:
        path = self._directory / "unsynced"
        self._directory.mkdir(exist_ok=True)
        with path.open("ab") as file:
            file.write(data)


def rate(broker: str, make_journal: Callable[[Path], JournalWriter]) -> float:
    """Rows a second, recorded durably in the database."""
    with tempfile.TemporaryDirectory() as place:
        shop = Shop(Path(place), broker, accept, make_journal=make_journal)
        batch = shop.submit(ROWS)
        with shop.store.read() as tx:
            ids = [row.item_id for row in claims.next_items(tx, batch.id, ROWS)]

        async def work(desk: Desk) -> int:
            sent = 0
            for start in range(0, len(ids), CHUNK):
                chunk = ids[start : start + CHUNK]
                sent += await submission.run_chunk(desk, "bench", chunk, probe=False)
            return sent

        began = time.perf_counter()
        assert asyncio.run(shop.with_desk(work)) == ROWS
        return ROWS / (time.perf_counter() - began)


def report() -> None:
    """Print the best of some rounds of each, taken in turn."""
    kinds: dict[str, Callable[[Path], JournalWriter]] = {
        "no journal": NoJournal,
        "unsynced": NoSync,
        "journal": JournalWriter,
    }
    best = dict.fromkeys(kinds, 0.0)
    with short_directory() as place, valkey_server(place) as server:
        for _ in range(ROUNDS):
            for name, make in kinds.items():
                best[name] = max(best[name], rate(str(server.url), make))
    for name, found in best.items():
        print(f"{name:10} {found:7,.0f} rows/s {found / best['no journal']:6.2f} x")
