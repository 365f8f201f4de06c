"""How long a batch takes beside the shortest that its provider allows.

400 rows, 20 slots at the provider, run times around 5 seconds, in real time against the sandbox:
once it queues what is beyond its slots, once it answers 429 beyond 20 unfinished tasks. The ideal
gives each row, in order, to the slot that is free first, and knows of each end at once.
`python -m tests.benchmarks.makespan`
"""

from __future__ import annotations

import argparse
import heapq
import sqlite3
import tempfile
from pathlib import Path

from sqlalchemy import text

from tests.benchmarks import kept
from tests.benchmarks.ourselves import Ourselves, running
from tests.support.sandbox import KEY, sandbox

ROWS = 400
SLOTS = 20
MEDIAN_SECONDS = 5
KINDS = {"queues": f"--slots={SLOTS}", "answers 429": f"--max-in-flight={SLOTS}"}


def ideal(runs: list[float], slots: int) -> float:
    """Seconds from the first start to the last end."""
    ends = [0.0] * slots
    for run in runs:
        heapq.heapreplace(ends, ends[0] + run)
    return max(ends)


def run_times(state: Path) -> list[float]:
    """What each task took at the provider, in the order of their coming, without the queue."""
    with sqlite3.connect(state) as store:
        found = store.execute("SELECT ends_at - starts_at FROM tasks ORDER BY number")
        return [float(row[0]) for row in found]


def refused(us: Ourselves) -> float:
    """The share of answers, those to polls among them, that were 429."""
    said = text("SELECT count(*) FROM history WHERE detail LIKE '%(rate_limited)%'")
    asked = text("SELECT count(*) + sum(polls) FROM submissions")
    with us.store() as store, store.read() as tx:
        number, others = (int(tx.conn.execute(query).scalar_one()) for query in (said, asked))
    return number / (number + others)


def measure(kind: str, rows: int) -> tuple[float, float, float]:
    """Seconds until all was recorded, the ideal's, and the share of answers that were 429."""
    with tempfile.TemporaryDirectory() as place:
        options = ("--queue=0", f"--median={MEDIAN_SECONDS}", KINDS[kind])
        with sandbox(Path(place) / "sandbox", *options) as provider:
            folder = Path(place) / "us"
            folder.mkdir()
            more = {
                "MINDVIDEO_API_KEY": KEY,
                "ORCHESTRATOR_REQUESTS_PER_SECOND": "50",
            }
            with running(folder, provider.base_url, polls=True, **more) as us:
                us.submit("bench", rows, budget=None)
                seconds = us.await_states("bench", {"succeeded"}, rows)
                share = refused(us)
            return seconds, ideal(run_times(provider.state), SLOTS), share


def report(rows: int = ROWS) -> None:
    """Print and keep both."""
    figures = {}
    for kind in KINDS:
        seconds, best, share = measure(kind, rows)
        figures[kind] = {"seconds": seconds, "ideal": best, "ratio": seconds / best}
        figures[kind]["refused"] = share
        print(
            f"{rows} rows, {SLOTS} slots, provider {kind:12} {seconds:6.1f} s, "
            f"ideal {best:6.1f} s: {seconds / best:.3f} x, {share:.1%} of answers 429",
            flush=True,
        )
    kept.keep("makespan", figures)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    report(parser.parse_args().rows)


if __name__ == "__main__":
    main()
