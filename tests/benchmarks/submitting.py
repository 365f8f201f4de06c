"""Rows a second, sent and recorded durably: ourselves beside what people write instead.

All in one run, taken in turn, against one small server on a core of its own; figures are medians
over the rounds, and ratios are made within a round. `python -m tests.benchmarks.submitting`
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from tests.benchmarks import asking, kept, machine
from tests.benchmarks.ourselves import Ourselves, running
from tests.support.postgres import fresh_database, postgres_server
from tests.support.valkey import short_directory, valkey_server

PEERS = {"a": "httpx", "a'": "httpx-aiohttp", "b": "tutorial", "d": "aiohttp"}
LATENCIES = (0, 50, 500)
ROUNDS = 3
PROCESSES = 2
"""That buy, of ours and of the tutorial's."""
SERVER_CORE = 0
SQLITE, POSTGRESQL = "ourselves, SQLite", "ourselves, PostgreSQL"
NAMES = {
    "httpx": "(a) script",
    "httpx-aiohttp": "(a') script, aiohttp transport",
    "tutorial": "(b) tutorial's Celery",
    "aiohttp": "(d) bare aiohttp",
    "sqlite": SQLITE,
    "postgresql": POSTGRESQL,
}
ROWS = {
    0: {"httpx": 600, "httpx-aiohttp": 3000, "tutorial": 200, "aiohttp": 6000, "us": 15000},
    50: {"httpx": 600, "httpx-aiohttp": 2000, "tutorial": 150, "aiohttp": 3000, "us": 8000},
    500: {"httpx": 400, "httpx-aiohttp": 400, "tutorial": 40, "aiohttp": 400, "us": 4000},
}


@dataclass(frozen=True, slots=True)
class Measured:
    """One contender once."""

    contender: str
    latency: int
    rows: int
    seconds: float
    cpu: float

    @property
    def rate(self) -> float:
        return self.rows / self.seconds


@contextmanager
def answering(place: Path) -> Iterator[int]:
    """The server's port; it has a core of its own."""
    ready = place / "answering.port"
    command = [sys.executable, "-m", "tests.benchmarks.answering"]
    process = subprocess.Popen([*command, "--core", str(SERVER_CORE), "--ready", str(ready)])
    try:
        while not ready.exists():
            assert process.poll() is None
            time.sleep(0.02)
        yield int(ready.read_text())
    finally:
        process.kill()
        process.wait()


def counts(port: int) -> dict[str, int]:
    """What came to the server so far."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/counts") as answer:
        found: dict[str, int] = json.loads(answer.read())
    return found


def loop(kind: str, port: int, latency: int, rows: int) -> Measured:
    """One of the loops, in a process of its own."""
    url = f"http://127.0.0.1:{port}/{latency}/api/v1"
    command = [sys.executable, "-m", "tests.benchmarks.contenders", kind, url, str(rows)]
    told = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return Measured(kind, latency, rows, told["seconds"], told["cpu"])


@contextmanager
def tutorial(place: Path, url: str) -> Iterator[tuple[dict[str, str], list[int]]]:
    """The tutorial's worker, two processes; its environment and process ids."""
    place.mkdir()
    with short_directory() as sockets, valkey_server(sockets) as broker:
        env = dict(os.environ) | {
            "TUTORIAL_BROKER": broker.broker_url,
            "TUTORIAL_DATABASE": f"sqlite:///{place / 'tutorial.db'}",
            "TUTORIAL_URL": url,
        }
        command = [sys.executable, "-m", "celery", "-A", "tests.benchmarks.tutorial", "worker"]
        worker = subprocess.Popen(
            [*command, f"--concurrency={PROCESSES}", "--loglevel=ERROR"],
            env=env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield env, [worker.pid, broker.process.pid]
        finally:
            worker.kill()
            worker.wait()


_PRODUCE = """
import sys, time
from sqlalchemy import create_engine, text
from tests.benchmarks import tutorial
rows = int(sys.argv[1])
tutorial.Base.metadata.create_all(tutorial.engine)
def there():
    with tutorial.engine.connect() as conn:
        return conn.execute(text("SELECT count(*) FROM videos")).scalar_one()
def send(number):
    before = there()
    began = time.time()
    for n in range(number):
        tutorial.send.delay(n)
    while there() < before + number:
        time.sleep(0.02)
    return time.time() - began
send(4)
print("ready", flush=True)
sys.stdin.readline()
print(send(rows))
"""


def by_tutorial(place: Path, port: int, latency: int, rows: int) -> Measured:
    url = f"http://127.0.0.1:{port}/{latency}/api/v1"
    with tutorial(place, url) as (env, pids):
        producer = subprocess.Popen(
            [sys.executable, "-c", _PRODUCE, str(rows)],
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert producer.stdin is not None
        assert producer.stdout is not None
        assert producer.stdout.readline() == "ready\n"
        before = machine.cpu_seconds(pids)
        producer.stdin.write("\n")
        producer.stdin.flush()
        seconds = float(producer.stdout.readline())
        cpu = machine.cpu_seconds(pids) - before
        producer.wait()
        return Measured("tutorial", latency, rows, seconds, cpu)


def by_us(us: Ourselves, name: str, kind: str, latency: int, rows: int) -> Measured:
    """A batch from its publication to the last row's recorded answer."""
    before = us.cpu()
    us.submit(name, rows)
    seconds = us.await_states(name, {"queued"}, rows)
    cpu = sum(us.cpu().values()) - sum(before.values())
    return Measured(kind, latency, rows, seconds, cpu)


@contextmanager
def ready(
    place: Path, port: int, latency: int, database: str | None, processes: int = PROCESSES
) -> Iterator[Ourselves]:
    """Our processes, warm: a few rows were bought, so that a price is known."""
    place.mkdir()
    url = f"http://127.0.0.1:{port}/{latency}/api/v1"
    with running(place, url, database=database, processes=processes) as us:
        us.submit("warm", 150)
        us.await_states("warm", {"queued"}, 150)
        yield us


def measure(
    latencies: Sequence[int], rounds: int, kinds: Sequence[str]
) -> tuple[list[Measured], list[float]]:
    """Every contender once in each round; and what the server answers at most, in each round."""
    found: list[Measured] = []
    limits: list[float] = []
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        port = stack.enter_context(answering(place))
        postgres = "postgresql" in kinds and stack.enter_context(postgres_server())
        for latency in latencies:
            for number in range(rounds):
                limits.append(asking.rate(port, 1.0))
                for kind in kinds:
                    here = place / f"{kind}-{latency}-{number}"
                    rows = ROWS[latency].get(kind, ROWS[latency]["us"])
                    if kind == "tutorial":
                        one = by_tutorial(here, port, latency, rows)
                    elif kind in ("sqlite", "postgresql"):
                        database = fresh_database(str(postgres)) if kind == "postgresql" else None
                        with ready(here, port, latency, database) as us:
                            posts = counts(port)
                            one = by_us(us, here.name, kind, latency, rows)
                            after = counts(port)
                        assert after["posts"] - posts["posts"] == rows
                        assert after["keys"] - posts["keys"] == rows
                    else:
                        one = loop(kind, port, latency, rows)
                    found.append(one)
                    print(
                        f"{latency:4} ms {NAMES[kind]:32} {one.rate:8,.0f} rows/s "
                        f"{1000 * one.cpu / one.rows:7.2f} ms CPU/row",
                        flush=True,
                    )
    return found, limits


def report(
    latencies: Sequence[int] = LATENCIES,
    rounds: int = ROUNDS,
    kinds: Sequence[str] = tuple(NAMES),
) -> None:
    """Print the table of medians and ratios, and keep it as JSON."""
    found, limits = measure(latencies, rounds, kinds)
    limit = median(limits)
    fastest = max(one.rate for one in found)
    print(f"the server answers {limit:,.0f} requests/s, {limit / fastest:.1f} x the fastest rate")
    table = []
    for latency in latencies:
        for kind in kinds:
            runs = [one for one in found if (one.contender, one.latency) == (kind, latency)]
            table.append(_line(kind, latency, runs, found))
    for line in table:
        ratios = " ".join(f"{name} {ratio:7.2f} x" for name, ratio in line["ratios"].items())
        print(
            f"{line['latency']:4} ms {NAMES[str(line['contender'])]:32} "
            f"{line['rate']:8,.0f} rows/s {line['cpu_ms']:7.2f} ms CPU/row  {ratios}"
        )
    kept.keep(
        "submitting",
        {
            "server": {"rate": limit, "times_the_fastest": limit / fastest},
            "table": table,
            "runs": [asdict(one) for one in found],
        },
    )


def _line(
    kind: str, latency: int, runs: Sequence[Measured], found: Sequence[Measured]
) -> dict[str, object]:
    ratios = {}
    for name, other in (
        ("a", "httpx"),
        ("a'", "httpx-aiohttp"),
        ("b", "tutorial"),
        ("d", "aiohttp"),
    ):
        others = [one for one in found if (one.contender, one.latency) == (other, latency)]
        if others and other != kind:
            pairs = zip(runs, others, strict=True)
            ratios[name] = median(ours.rate / theirs.rate for ours, theirs in pairs)
    return {
        "contender": kind,
        "latency": latency,
        "rate": median(one.rate for one in runs),
        "cpu_ms": median(1000 * one.cpu / one.rows for one in runs),
        "ratios": ratios,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latency", type=int, action="append", choices=LATENCIES)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--only", action="append", choices=list(NAMES))
    options = parser.parse_args()
    report(options.latency or LATENCIES, options.rounds, options.only or tuple(NAMES))


if __name__ == "__main__":
    main()
