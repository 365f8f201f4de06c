"""How much slower taking a spec in is than the bare loop over its rows."""

from __future__ import annotations

import csv
import hashlib
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from orchestrator.domain.submission import Policy
from orchestrator.services import intake
from orchestrator.services.context import Context, Timing
from orchestrator.spec import open_spec
from orchestrator.store import schema
from orchestrator.store.engine import Store

ROWS = 20_000


def timed(work: Callable[[], object]) -> float:
    """Seconds."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def bare(path: Path) -> None:
    """Read and hash each row, and keep nothing."""
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.reader(file):
            hashlib.sha256("\0".join(row).encode()).hexdigest()


def take_in(path: Path, folder: Path) -> None:
    """Read, check, key, stage and publish, on SQLite."""
    store = Store(f"sqlite:///{folder / 'bench.db'}")
    schema.upgrade(store)
    policy = Policy(deadline=1, retention=1)
    timing = Timing(request=1000, chunk_size=50)
    context = Context(store, "http://p", None, "", "bench", policy, timing, None, folder)
    intake.take_in(
        context,
        path,
        options=lambda _spec: intake.Options("bench", "default"),
        confirm=lambda _proposal: True,
    )


def report() -> None:
    """Print a table of times and ratios to the bare loop."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        path = folder / "bench.csv"
        rows = "".join(f"r{i},a street at night number {i}\n" for i in range(ROWS))
        path.write_text(f"id,prompt\n{rows}", encoding="utf-8")
        floor = timed(lambda: bare(path))
        checked = timed(lambda: list(open_spec(path).rows()))
        taken = timed(lambda: take_in(path, folder))
    for name, seconds in (("bare loop", floor), ("checked", checked), ("taken in", taken)):
        print(f"{name:10} {seconds:6.2f} s {ROWS / seconds:9,.0f} rows/s {seconds / floor:7.1f} x")
