"""Beat's scheduler as Celery has it: signs that it turns, hears nudges, and turns when it must."""

from __future__ import annotations

import os
import socket
import time
from typing import Any

from celery.beat import PersistentScheduler

from orchestrator.nudges import Listener
from orchestrator.services import presence
from orchestrator.settings import load_settings
from workers.config import DISPATCH, TICKS

SIGN_SECONDS = 5.0


class SigningScheduler(PersistentScheduler):
    """Signs a lock of this machine as it ticks: `orchestrator health beat` looks."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._name: str | None = None
        self._lock = -1
        self._signed = 0.0
        self._settings = load_settings()
        self._nudges = Listener(self._settings)
        super().__init__(*args, **kwargs)

    def tick(self, *args: Any, **kwargs: Any) -> float:
        self._sign()
        seconds: float = super().tick(*args, **kwargs)
        if seconds <= 0 or not self._nudges.wait(seconds):
            return 0
        options = {"queue": TICKS, "headers": {"nudged": True}}
        nudged = self.Entry("nudged", DISPATCH, options=options, app=self.app)
        self.apply_entry(nudged, producer=self.producer)
        return 0

    def adjust(self, n: Any, drift: float = 0.0) -> Any:
        """Sleep until the next tick is due; Celery spins for the last 10 ms of it."""
        return super().adjust(n, drift)

    def schedules_equal(self, old_schedules: Any, new_schedules: Any) -> bool:
        """The configuration's schedule stays as it is; Celery would compare all of it each time."""
        return old_schedules is not None and new_schedules is not None

    def close(self) -> None:
        """Called by a signal's handler too, in the middle of a wait: that ends with the process."""
        if self._name is not None:
            presence.bury(self._folder, [self._name])
            os.close(self._lock)
            self._name = None
        super().close()

    def _sign(self) -> None:
        if self._name is None:
            self._folder = self._settings.beats_dir
            presence.bury(self._folder, presence.dead(self._folder))
            self._name, self._lock = presence.announce(self._folder)
        if time.monotonic() - self._signed >= SIGN_SECONDS:
            presence.sign(self._lock, f"beat {socket.gethostname()}")
            self._signed = time.monotonic()
