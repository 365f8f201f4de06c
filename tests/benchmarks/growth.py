"""What a row costs from `submit` to its result, and that it costs no more in a large batch.

Processor time over all our processes, messages through the broker, statements to the database, and
the memory of the workers, for batches of growing size, bought and asked about to the end. The
provider answers at once and has always ended a task when it is asked. A batch of any size costs the
start of a `submit`, and the ticks of each second that it lasts: both are measured without rows,
and told apart from what a row adds.
`python -m tests.benchmarks.growth --rows 1000 --rows 10000`
"""

from __future__ import annotations

import argparse
import struct
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import redis

from tests.benchmarks import kept, machine
from tests.benchmarks.ourselves import Ourselves, running
from tests.benchmarks.submitting import answering

ROWS = (1_000, 10_000, 100_000)
WARM = 500
IDLE_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Used:
    """Milliseconds of processor by our processes' names, statements, and messages."""

    cpu_ms: dict[str, float]
    statements: float
    messages: float

    @property
    def total_cpu_ms(self) -> float:
        return sum(self.cpu_ms.values())

    def without(self, other: Used, times: float = 1) -> Used:
        parts = {name: ms - times * other.cpu_ms.get(name, 0) for name, ms in self.cpu_ms.items()}
        return Used(
            parts,
            self.statements - times * other.statements,
            self.messages - times * other.messages,
        )

    def over(self, number: float) -> Used:
        parts = {name: ms / number for name, ms in self.cpu_ms.items()}
        return Used(parts, self.statements / number, self.messages / number)


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one batch: each row's share of all, and what it is without what no row is needed for."""

    rows: int
    seconds: float
    share: Used
    added: Used
    memory_mb: float


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


def used(us: Ourselves, counts: Path) -> Used:
    """By all our processes so far."""
    cpu = {name: 1000 * seconds for name, seconds in us.cpu().items()}
    return Used(cpu, statements(counts), messages(us.redis_url))


def submitted(us: Ourselves, counts: Path, name: str, rows: int) -> tuple[Used, float]:
    """What a batch used until its last row had succeeded, and in how many seconds."""
    before, began = used(us, counts), time.monotonic()
    taking_in = us.submit(name, rows)
    us.await_states(name, {"succeeded"}, rows, 3600)
    found, seconds = used(us, counts).without(before), time.monotonic() - began
    return replace(found, cpu_ms=found.cpu_ms | {"taking in": 1000 * taking_in}), seconds


def idle(us: Ourselves, counts: Path) -> Used:
    """In a second without anything to do."""
    before = used(us, counts)
    time.sleep(IDLE_SECONDS)
    return used(us, counts).without(before).over(IDLE_SECONDS)


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
            submitted(us, counts, "warm", WARM)
            one, _ = submitted(us, counts, "one", 1)
            start = Used({"taking in": one.cpu_ms["taking in"]}, 0, 0)
            second = idle(us, counts)
            found, seconds = submitted(us, counts, "bench", rows)
            return Cost(
                rows=rows,
                seconds=seconds,
                share=found.over(rows),
                added=found.without(start).without(second, seconds).over(rows),
                memory_mb=memory_mb(us),
            )


def report(sizes: Sequence[int] = ROWS) -> None:
    """Print for each size what a row's share is, and what it adds."""
    costs = []
    for rows in sizes:
        cost = measure(rows)
        costs.append(cost)
        print(f"{rows:8,} rows {cost.seconds:7.1f} s {cost.memory_mb:5.0f} MB")
        for name, one in (("share", cost.share), ("added", cost.added)):
            parts = ", ".join(f"{part} {ms:.2f}" for part, ms in sorted(one.cpu_ms.items()))
            print(
                f"    {name} {one.total_cpu_ms:6.2f} ms CPU/row {one.messages:6.3f} messages/row "
                f"{one.statements:6.2f} statements/row  ({parts})",
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
