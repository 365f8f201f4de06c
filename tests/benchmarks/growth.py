"""What a row costs from `submit` to its result, and that it costs no more in a large batch.

Processor time over all our processes, messages through the broker, statements to the database, and
the memory of the workers, for batches of growing size, bought and asked about to the end. The
provider answers at once and has always ended a task when it is asked.
`python -m tests.benchmarks.growth --rows 1000 --rows 10000`
"""

from __future__ import annotations

import argparse
import struct
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import redis

from tests.benchmarks import kept, machine
from tests.benchmarks.ourselves import Ourselves, running
from tests.benchmarks.submitting import answering

ROWS = (1_000, 10_000, 100_000)
WARM = 500


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one batch; all but `memory_mb` for each row. `cpu_ms` by our processes' names."""

    rows: int
    seconds: float
    cpu_ms: dict[str, float]
    messages: float
    statements: float
    memory_mb: float

    @property
    def total_cpu_ms(self) -> float:
        return sum(self.cpu_ms.values())


def statements(folder: Path) -> int:
    """Executed by all processes so far."""
    return sum(struct.unpack("<q", path.read_bytes())[0] for path in folder.iterdir())


def messages(broker: str) -> int:
    """Put into the broker's queues so far."""
    with redis.Redis.from_url(broker) as server:
        told = server.info("commandstats")
    return int(told.get("cmdstat_lpush", {"calls": 0})["calls"])


def memory_mb(us: Ourselves) -> float:
    """Of the largest worker process that buys or asks."""
    roots = [us.processes["submit"], us.processes["poll"]]
    return max(machine.memory_mb(pid) for pid in machine.tree(roots) if pid not in roots)


def measure(rows: int) -> Cost:
    """One batch in an installation of its own, which is warm."""
    with (
        tempfile.TemporaryDirectory() as place,
        answering(Path(place)) as port,
    ):
        counts = Path(place) / "counts"
        counts.mkdir()
        folder = Path(place) / "us"
        folder.mkdir()
        more = {
            "BENCH_COUNTS": str(counts),
            "PYTHONPATH": str(Path(__file__).parent / "counting"),
        }
        url = f"http://127.0.0.1:{port}/0/api/v1"
        with running(folder, url, polls=True, processes=1, **more) as us:
            us.submit("warm", WARM)
            us.await_states("warm", {"succeeded"}, WARM)
            broker = us.redis_url
            before = us.cpu(), statements(counts), messages(broker)
            used = us.submit("bench", rows)
            seconds = us.await_states("bench", {"succeeded"}, rows, 3600)
            after = us.cpu(), statements(counts), messages(broker)
            cpu = {name: 1000 * (after[0][name] - before[0][name]) / rows for name in after[0]}
            cpu["taking in"] = 1000 * used / rows
            return Cost(
                rows=rows,
                seconds=seconds,
                cpu_ms=cpu,
                messages=(after[2] - before[2]) / rows,
                statements=(after[1] - before[1]) / rows,
                memory_mb=memory_mb(us),
            )


def report(sizes: Sequence[int] = ROWS) -> None:
    """Print a line for each size, and how much the largest differs from the smallest."""
    costs = []
    for rows in sizes:
        cost = measure(rows)
        costs.append(cost)
        parts = ", ".join(f"{name} {ms:.2f}" for name, ms in sorted(cost.cpu_ms.items()))
        print(
            f"{rows:8,} rows {cost.seconds:7.1f} s {cost.total_cpu_ms:6.2f} ms CPU/row "
            f"{cost.messages:6.3f} messages/row {cost.statements:6.2f} statements/row "
            f"{cost.memory_mb:5.0f} MB  ({parts})",
            flush=True,
        )
    kept.keep("growth", [asdict(cost) for cost in costs])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, action="append")
    options = parser.parse_args()
    report(options.rows or ROWS)


if __name__ == "__main__":
    main()
