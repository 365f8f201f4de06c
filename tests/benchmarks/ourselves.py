"""Ourselves as a person runs us: real commands, real worker processes, a broker and a beat.

Submits and everything else have worker processes of their own, as in a deployment, so that each
can be left out: what only buys is compared with programs that only buy.
"""

from __future__ import annotations

import csv
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import text

from orchestrator.store import workers
from orchestrator.store.engine import Store
from tests.benchmarks import machine
from tests.support.valkey import short_directory, valkey_server

_SCENE = "a slow dolly shot through a market at night, lanterns swaying in a light rain"
KEY = "mv_live_bench_0123456789abcdef"
_START_SECONDS = 120.0
_ANY_RATE = "1000000"
_ROWS_A_SECOND = 20_000
"""More than there ever are, so that the last row is seen at once."""


@dataclass
class Ourselves:
    """A running installation; `processes` by their names, the broker among them."""

    folder: Path
    env: Mapping[str, str]
    database: str
    redis_url: str
    processes: dict[str, int] = field(default_factory=dict)

    def submit(self, name: str, rows: int, *, budget: str | None = "1000000") -> float:
        """Take in a new batch of so many rows, by the command; the processor seconds it took."""
        path = self.folder / f"{name}.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["id", "prompt"])
            writer.writerows((f"r{n}", f"{name}: {_SCENE}, take {n}") for n in range(rows))
        command = [sys.executable, "-m", "orchestrator", "submit", str(path), "--yes"]
        command += ["--budget", budget] if budget else []
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            command, cwd=self.folder, env=dict(self.env), check=True, stdout=subprocess.DEVNULL
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime

    def cpu(self) -> dict[str, float]:
        """Processor seconds used so far, by the processes' names."""
        return {name: machine.cpu_seconds([pid]) for name, pid in self.processes.items()}

    @contextmanager
    def store(self) -> Iterator[Store]:
        store = Store(self.database)
        try:
            yield store
        finally:
            store.close()

    def await_workers(self) -> None:
        """Until those that buy have shown up."""
        end = time.monotonic() + _START_SECONDS
        with self.store() as store:
            while time.monotonic() < end:
                with store.read() as tx:
                    if workers.submitting_processes(tx):
                        return
                time.sleep(0.05)
        raise TimeoutError("no worker has come up")

    def await_states(self, name: str, states: set[str], rows: int, seconds: float = 900) -> float:
        """Wait until so many rows are in one of these; seconds from publication to that moment."""
        named = ", ".join(f"'{state}'" for state in sorted(states))
        count = text(
            "SELECT coalesce(sum(c.number), 0), min(b.published_at) FROM item_counts c "
            "JOIN revisions r ON r.id = c.revision_id JOIN batches b ON b.id = r.batch_id "
            f"WHERE b.name = :name AND c.state IN ({named})"
        )
        end = time.monotonic() + seconds
        with self.store() as store:
            while time.monotonic() < end:
                with store.engine.connect() as conn:
                    number, published = conn.execute(count, {"name": name}).one()
                left = rows - int(number)
                if left <= 0:
                    return time.time() - published / 1000
                # Seldom while there is much: looking takes from what is looked at.
                time.sleep(min(0.2, max(0.02, left / _ROWS_A_SECOND)))
        raise TimeoutError(f"{number} of {rows} rows of {name} in {seconds} seconds")


def _environment(folder: Path, base_url: str, more: Mapping[str, str]) -> dict[str, str]:
    own = ("MINDVIDEO_", "ORCHESTRATOR_", "FLOWER_", "PYTHONPATH")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    return clean | {
        "MINDVIDEO_API_KEY": KEY,
        "MINDVIDEO_BASE_URL": base_url,
        "ORCHESTRATOR_DATA_DIR": str(folder / "data"),
        "ORCHESTRATOR_JOURNAL_DIR": str(folder / "journal"),
        "ORCHESTRATOR_REQUESTS_PER_SECOND": _ANY_RATE,
        **more,
    }


def _worker(name: str, queues: str, processes: int) -> list[str]:
    command = [sys.executable, "-m", "workers.run_celery", "worker", f"--queues={queues}"]
    return [*command, f"--concurrency={processes}", f"--hostname={name}@%h"]


@contextmanager
def running(
    folder: Path,
    base_url: str,
    *,
    database: str | None = None,
    sends: bool = True,
    polls: bool = False,
    processes: int = 2,
    **more: str,
) -> Iterator[Ourselves]:
    """An installation that buys if `sends`, and asks how tasks are doing if `polls`."""
    with ExitStack() as stack:
        sockets = stack.enter_context(short_directory())
        broker = stack.enter_context(valkey_server(sockets, persistent=True))
        more |= {"ORCHESTRATOR_BROKER_URL": broker.broker_url}
        more |= {"ORCHESTRATOR_DATABASE_URL": database} if database else {}
        env = _environment(folder, base_url, more)
        where = database or f"sqlite:///{folder / 'data' / 'orchestrator.db'}"
        us = Ourselves(folder, env, where, broker.url, {"broker": broker.process.pid})
        command = [sys.executable, "-m", "orchestrator", "db", "upgrade"]
        subprocess.run(command, cwd=folder, env=env, check=True, stdout=subprocess.DEVNULL)
        wanted = {
            "ticks": _worker("ticks", "ticks", 1),
            "beat": [*(sys.executable, "-m", "workers.run_celery", "beat"), "--schedule=beat"],
        }
        if sends:
            wanted["submit"] = _worker("submit", "submit", processes)
        if polls:
            wanted["poll"] = _worker("poll", "poll", 1)
        for name, argv in wanted.items():
            log = stack.enter_context((folder / f"{name}.log").open("wb"))
            child = subprocess.Popen(argv, cwd=folder, env=env, stdout=log, stderr=log)
            stack.callback(_end, child)
            us.processes[name] = child.pid
        if sends:
            us.await_workers()
        yield us


def _end(child: subprocess.Popen[bytes]) -> None:
    child.send_signal(signal.SIGTERM)
    try:
        child.wait(30)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
