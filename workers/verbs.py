"""What tasks have in common: what passes by itself is said in a line, and ticks do not pile up."""

from __future__ import annotations

import logging
import time
from typing import Any

from celery import Task

from orchestrator.errors import OrchestratorError
from workers.config import TICK_SECONDS

SAID_AGAIN_SECONDS = 30.0
_FRESH_SHARE = 0.4
"""Of a tick's interval: two beats out of step are both heard, a queue of old ticks is not."""
logger = logging.getLogger("workers")
_said: dict[str, float] = {}
_ran: dict[str, float] = {}
_heard: dict[str, float] = {}
"""Process and host of each beat whose tick came, and when."""


def say(about: str, error: OrchestratorError) -> None:
    """One line for the log, and not the same one again and again while it lasts."""
    now = time.monotonic()
    key = f"{about} {error.code}"
    if now - _said.get(key, -SAID_AGAIN_SECONDS) >= SAID_AGAIN_SECONDS:
        _said[key] = now
        logger.warning("%s: %s. %s", about, error.message, error.mend)


def beats_heard(within: float) -> set[str]:
    """The beats whose ticks this process has got in the last seconds."""
    since = time.monotonic() - within
    for name in [name for name, at in _heard.items() if at < since]:
        del _heard[name]
    return set(_heard)


class Verb(Task):
    """A task whose known errors fail it without a traceback: the rows come again by themselves."""

    abstract = True
    throws = (OrchestratorError,)

    def on_failure(self, exc: BaseException, *_: Any, **__: Any) -> None:
        if isinstance(exc, OrchestratorError):
            say(self.name, exc)


class Tick(Verb):
    """A task that beats send. One that comes right after another did has nothing to do, unless it
    was nudged: then something has changed since.

    So a queue that grew while no worker ran is gone in no time, whatever the beats' and the
    workers' clocks say: messages that expire do so by the sender's clock.
    """

    abstract = True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        now = time.monotonic()
        if self.request.origin:
            _heard[self.request.origin] = now
        last = _ran.get(self.name)
        nudged = self.request.get("nudged", False)
        if last is not None and not nudged and now - last < _FRESH_SHARE * TICK_SECONDS[self.name]:
            return None
        _ran[self.name] = now
        return self.run(*args, **kwargs)
