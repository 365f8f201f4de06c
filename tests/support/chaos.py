"""Everything goes wrong at once, from a seed: kills, stops, flushes, a misbehaving provider.

`python -m tests.support.chaos --rows 1000 --seed 7` prints what it did and judges from outside.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import redis

from orchestrator.places import runtime_dir
from tests.support.installation import Installation
from tests.support.processes import (
    BEAT,
    BUYER,
    POLLER,
    broker_of,
    children_of,
    forker_of,
    processes_of,
)
from tests.support.sandbox import Sandbox, sandbox
from tests.support.zygote import Running

FAULTS: list[dict[str, object]] = [
    {"on": "submit", "kind": "lost_answer_after_commit", "rate": 0.03},
    {"on": "submit", "kind": "error_502_after_commit", "rate": 0.02},
    {"on": "submit", "kind": "error_503_after_commit", "rate": 0.02},
    {"on": "submit", "kind": "truncated_after_commit", "rate": 0.01},
    {"on": "submit", "kind": "garbage_after_commit", "rate": 0.01},
    {"on": "submit", "kind": "hang_after_commit", "rate": 0.005, "seconds": 20},
    {"on": "submit", "kind": "error_500", "rate": 0.02},
    {"on": "submit", "kind": "conflict_409", "rate": 0.01},
    {"on": "submit", "kind": "rate_limit_429", "rate": 0.01, "retry_after": "1"},
    {"on": "submit", "kind": "reset", "rate": 0.02},
    {"on": "poll", "kind": "error_500", "rate": 0.03},
    {"on": "poll", "kind": "garbage", "rate": 0.02},
    {"on": "poll", "kind": "reset", "rate": 0.02},
    {"on": "poll", "kind": "unknown_status", "rate": 0.02},
    {"on": "poll", "kind": "late_reads", "rate": 0.02},
    {"on": "poll", "kind": "several_videos", "rate": 0.02},
]


@dataclass
class Chaos:
    """One run of one seed."""

    here: Installation
    provider: Sandbox
    rows: int
    seed: int
    deeds: Counter[str] = field(default_factory=Counter)
    running: Running | None = None

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._batch = f"chaos{self.seed}"
        self._spec = self.here.prompts(f"{self._batch}.csv", self.rows)

    def __call__(self) -> None:
        """Disturb until most rows are bought, or enough was done; then let it come to its end."""
        before = self.provider.charges
        # Where everything is slow, ever new kills would let nothing begin.
        enough = max(12, self.rows // 4)
        deeds: list[Callable[[], None]] = [
            self.kill_a_child,
            self.kill_a_child,
            self.kill_a_worker,
            self.kill_beat,
            self.kill_what_forks,
            self.kill_the_broker,
            self.flush_the_broker,
            self.stop_for_a_moment,
            self.kill_everything,
        ]
        while self.deeds.total() < enough and self.provider.charges - before < 0.85 * self.rows:
            self._keep_running()
            self._wait(self._random.uniform(0.5, 3.0))
            deed = self._random.choice(deeds)
            # What is to be killed may be gone already: that is chaos too.
            with contextlib.suppress(OSError, redis.RedisError, IndexError, ValueError):
                deed()
                self.deeds[deed.__name__] += 1
        code = None
        while code is None or code < 0:
            self._keep_running()
            assert self.running is not None
            output, _ = self.running.communicate(timeout=300)
            code = self.running.returncode
            self.running = None
            if code == 3 and "ended" not in output.splitlines()[-1]:
                code = None
        assert code == 0, output[-2000:]
        self._judge(before)

    def _judge(self, before: int) -> None:
        """From outside: the ledger, the results, the holds."""
        ledger = self.provider.ledger()
        assert self.provider.charges - before == self.rows, ledger
        assert ledger["charged_twice"] == 0
        results = self.here.results(self._batch)
        assert len(results) == self.rows
        assert all(row["state"] == "succeeded" and row["video_urls"] for row in results)
        status = self.here.status(self._batch)
        cost = status["cost"]
        assert isinstance(cost, dict)
        assert cost["held"] == "0"
        paid = sum(Decimal(str(row["cost_actual"])) for row in results)
        assert paid == Decimal(str(ledger["total"])) == Decimal(str(cost["actual"]))

    def _keep_running(self) -> None:
        if self.running is not None and self.running.poll() is not None:
            self.running.communicate()
            self.running = None
        if self.running is None:
            self.running = self.here.start("run", self._spec)

    def _wait(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.running and self.running.poll() is None:
            time.sleep(0.05)

    def _workers(self) -> list[int]:
        return [pid for name in (BUYER, POLLER) for pid in processes_of(self.here.folder, name)]

    def kill_a_child(self) -> None:
        children = [child for parent in self._workers() for child in children_of(parent)]
        os.kill(self._random.choice(children), signal.SIGKILL)

    def kill_a_worker(self) -> None:
        os.kill(self._random.choice(self._workers()), signal.SIGKILL)

    def kill_beat(self) -> None:
        os.kill(self._random.choice(processes_of(self.here.folder, BEAT)), signal.SIGKILL)

    def kill_what_forks(self) -> None:
        os.kill(forker_of(self.here.folder), signal.SIGKILL)

    def kill_the_broker(self) -> None:
        os.kill(broker_of(self.here.folder), signal.SIGKILL)

    def flush_the_broker(self) -> None:
        installation = (self.here.folder / "data" / "installation").read_text().strip()
        socket = runtime_dir(installation) / "broker.sock"
        with redis.Redis(unix_socket_path=str(socket)) as server:
            server.flushall()

    def stop_for_a_moment(self) -> None:
        pid = self._random.choice(self._workers())
        os.kill(pid, signal.SIGSTOP)
        self._wait(self._random.uniform(0.5, 4.0))
        os.kill(pid, signal.SIGCONT)

    def kill_everything(self) -> None:
        if self.running is not None:
            self.running.kill()
        for pid in processes_of(self.here.folder, "orchestrator"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def run(folder: Path, *, rows: int, seed: int) -> Counter[str]:
    """One run in a fresh folder; returns how often each thing was done."""
    settings = {"ORCHESTRATOR_REQUEST_TIMEOUT": "5s", "ORCHESTRATOR_REQUESTS_PER_SECOND": "100"}
    with sandbox(folder / "sandbox", "--median", "1", "--seed", str(seed)) as provider:
        provider.faults(*FAULTS)
        place = folder / "here"
        place.mkdir()
        chaos = Chaos(Installation(place, provider.base_url, settings), provider, rows, seed)
        try:
            chaos()
        finally:
            chaos.kill_everything()
            if chaos.running is not None:
                chaos.running.communicate()
        return chaos.deeds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--seed", type=int, action="append")
    arguments = parser.parse_args()
    for seed in arguments.seed or [random.SystemRandom().randrange(1_000_000)]:
        print(f"seed {seed}, {arguments.rows} rows", flush=True)
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
            deeds = run(Path(folder), rows=arguments.rows, seed=seed)
        done = ", ".join(f"{name.replace('_', ' ')} x {n}" for name, n in sorted(deeds.items()))
        print(f"  {done}")
        print(f"  charges = rows, holds 0, results = ledger; {time.monotonic() - began:.0f} s")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
