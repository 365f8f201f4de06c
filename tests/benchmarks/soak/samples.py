"""Samples of the processes that stay and of the servers; and whether they grow."""

from __future__ import annotations

import statistics
import threading
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path

import psycopg
import redis

from tests.support.composed import Fleet
from tests.support.processes import children_of

WATCHED = ("worker-submit", "worker-poll", "beat-1", "metrics")
EVERY_SECONDS = 3.0
MB = 1024 * 1024
Curves = Mapping[str, Sequence[tuple[float, float]]]
"""Name -> (minutes since the start, value)."""


class Sampler(AbstractContextManager["Sampler"]):
    """Takes a sample of everything each EVERY_SECONDS, in a thread of its own."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._began = time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._go_on, daemon=True)
        self.curves: dict[str, list[tuple[float, float]]] = defaultdict(list)

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _go_on(self) -> None:
        while not self._over.wait(EVERY_SECONDS):
            self._take()

    def _take(self) -> None:
        for name in WATCHED:
            pids = [self._fleet.running[name].pid]
            pids += children_of(pids[0])
            self._note(f"{name}: memory, MB", sum(map(_memory, pids)) / MB)
            self._note(f"{name}: descriptors", sum(map(_descriptors, pids)))
        with suppress(psycopg.Error):
            self._database()
        with suppress(redis.RedisError):
            self._broker()

    def _note(self, name: str, value: float) -> None:
        self.curves[name].append(((time.monotonic() - self._began) / 60, value))

    def _secret(self, name: str) -> str:
        return self._fleet.files[f"secrets/{name}"].read_text().strip()

    def _database(self) -> None:
        url = self._secret("database_url").replace("postgresql+psycopg://", "postgresql://")
        with psycopg.connect(url, connect_timeout=2) as conn:
            connections = "SELECT count(*) FROM pg_stat_activity WHERE usename = current_user"
            sent = "SELECT count(*) FROM submissions WHERE finished_at IS NOT NULL"
            for name, query in (("database: connections", connections), ("rows finished", sent)):
                self._note(name, conn.execute(query).fetchone()[0])  # type: ignore[index]

    def _broker(self) -> None:
        with redis.Redis.from_url(self._secret("broker_url"), socket_timeout=2) as server:
            told = server.info()
        self._note("broker: memory, MB", told["used_memory"] / MB)
        self._note("broker: connections", told["connected_clients"])


def _memory(pid: int) -> int:
    """What would be free if the process ended: pages shared with its parent count in parts."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def _descriptors(pid: int) -> int:
    with suppress(OSError):
        return len(list(Path(f"/proc/{pid}/fd").iterdir()))
    return 0


def table(curves: Curves) -> str:
    """Medians of the second, third and last quarter: the first warms up."""
    lines = [
        "| what | second quarter | third | last | last / second |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, points in curves.items():
        values = [value for _, value in points]
        quarter = max(1, len(values) // 4)
        second, third, last = (
            statistics.median(values[at * quarter : (at + 1) * quarter or None] or values)
            for at in (1, 2, 3)
        )
        ratio = last / second if second else 1.0
        lines.append(f"| {name} | {second:.1f} | {third:.1f} | {last:.1f} | {ratio:.2f} |")
    return "\n".join(lines)
