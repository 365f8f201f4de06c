"""What one worker process has: its settings, its desk, its event loop. Opened once, used by tasks.

Prefork children get theirs in `worker_process_init`, after the fork; nothing that has a socket, a
file or a thread may be made before.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from celery.signals import (
    worker_process_init,
    worker_process_shutdown,
    worker_ready,
    worker_shutting_down,
)

from orchestrator.errors import OrchestratorError
from orchestrator.runtime import Runtime, make_desk, open_runtime
from orchestrator.services import presence
from orchestrator.services.context import Context
from orchestrator.services.desk import Desk
from orchestrator.store import workers
from workers.config import SUBMIT

SIGN_OF_LIFE_SECONDS = 5.0
_T = TypeVar("_T")


class Process:
    """This process's parts."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.runtime: Runtime = open_runtime()
        self.owner, self._lock = presence.announce(self.runtime.context.presence)
        self._runner = asyncio.Runner()
        self._desk: Desk | None = None

    @property
    def context(self) -> Context:
        return self.runtime.context

    @property
    def desk(self) -> Desk:
        """Made on first use, since it needs the API key and this process's event loop."""
        if self._desk is None:
            self._desk = self.run(self._make_desk())
        return self._desk

    async def _make_desk(self) -> Desk:
        return make_desk(self.runtime.settings, self.context, self.owner)

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        return self._runner.run(work)

    def close(self) -> None:
        if self._desk is not None:
            with contextlib.suppress(OSError, RuntimeError):
                self.run(self._desk.client.aclose())
            self._desk.journal.close()
        self._runner.close()
        self.runtime.close()
        presence.bury(self.context.presence, [self.owner])
        os.close(self._lock)


_process: Process | None = None


def current() -> Process:
    """The process's parts; made where no signal did it (the threads and solo pools)."""
    global _process  # noqa: PLW0603 one process, one set of parts
    if _process is None or _process.pid != os.getpid():
        _process = Process()
    return _process


@worker_process_init.connect
def _open(**_: object) -> None:
    current()


@worker_process_shutdown.connect
def _close(**_: object) -> None:
    if _process is not None and _process.pid == os.getpid():
        _process.close()


class SignOfLife(threading.Thread):
    """Tells the database every few seconds that this worker is there, and how many it is."""

    def __init__(self, name: str, *, processes: int, submits: bool) -> None:
        super().__init__(daemon=True, name="sign-of-life")
        self._name = name
        self._processes = processes
        self._submits = submits
        self.over = threading.Event()

    def run(self) -> None:
        runtime = open_runtime()
        while True:
            try:
                with runtime.context.store.write() as tx:
                    if self.over.is_set():
                        workers.gone(tx, self._name)
                        return
                    workers.seen(tx, self._name, processes=self._processes, submits=self._submits)
            except OrchestratorError:
                # The database is away; dispatch needs it too, so nobody is misled.
                pass
            self.over.wait(SIGN_OF_LIFE_SECONDS)


_sign: SignOfLife | None = None


@worker_ready.connect
def _show_up(sender: Any, **_: object) -> None:
    global _sign  # noqa: PLW0603 one worker, one sign
    queues = {queue.name for queue in sender.task_consumer.queues}
    _sign = SignOfLife(
        f"{sender.hostname}:{socket.gethostname()}:{os.getpid()}",
        processes=sender.pool.num_processes,
        submits=SUBMIT in queues,
    )
    _sign.start()


@worker_shutting_down.connect
def _sign_off(**_: object) -> None:
    if _sign is not None:
        _sign.over.set()
        _sign.join(timeout=2)
