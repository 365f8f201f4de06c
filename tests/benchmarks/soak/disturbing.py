"""What happens to a fleet in a week: rolling restarts, crashes, a broker and a database that go."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

from tests.support.composed import Fleet
from tests.support.processes import children_of

EVERY_SECONDS = 30.0


class Disturber:
    """One deed each EVERY_SECONDS; the first worker and beat of each kind are left alone."""

    def __init__(self, fleet: Fleet, seed: random.Random) -> None:
        self._fleet = fleet
        self._random = seed
        self._next = time.monotonic() + EVERY_SECONDS
        self._deeds: Counter[str] = Counter()

    def __str__(self) -> str:
        return ", ".join(f"{name} x {number}" for name, number in sorted(self._deeds.items()))

    def go_on(self) -> None:
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + EVERY_SECONDS
        deeds: list[Callable[[], None]] = [
            self._roll_a_worker,
            self._roll_a_worker,
            self._roll_a_beat,
            self._kill_a_process,
            self._kill_the_broker,
            self._restart_the_database,
        ]
        deed = self._random.choice(deeds)
        deed()
        self._deeds[deed.__name__.strip("_").replace("_", " ")] += 1

    def _roll_a_worker(self) -> None:
        name = self._random.choice(("worker-submit-2", "worker-poll-2"))
        self._fleet.stop(name)
        self._fleet.up(name)

    def _roll_a_beat(self) -> None:
        self._fleet.stop("beat-2")
        self._fleet.up("beat-2")

    def _kill_a_process(self) -> None:
        name = self._random.choice(("worker-submit-2", "worker-poll-2"))
        with suppress(IndexError, ProcessLookupError):
            os.kill(self._random.choice(children_of(self._fleet.running[name].pid)), signal.SIGKILL)

    def _kill_the_broker(self) -> None:
        process = self._fleet.running.pop("valkey")
        process.kill()
        process.wait()
        self._fleet.up("valkey")

    def _restart_the_database(self) -> None:
        self._fleet.stop("postgres")
        self._fleet.up("postgres")
