"""What one worker process has: its settings, its desk, its event loop. Opened once, used by tasks.

Prefork children get theirs in `worker_process_init`, after the fork; nothing that has a socket, a
file or a thread may be made before.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Collection, Coroutine
from dataclasses import replace
from typing import Any, TypeVar

from celery import current_app
from celery.concurrency import prefork
from celery.signals import (
    worker_process_init,
    worker_process_shutdown,
    worker_ready,
    worker_shutting_down,
)

from orchestrator import machine
from orchestrator.domain import clocks
from orchestrator.errors import OrchestratorError, ServiceError
from orchestrator.runtime import Desks, Runtime, make_desks, open_runtime
from orchestrator.services import presence, rejoining
from orchestrator.services.context import Context
from orchestrator.services.desk import Desk
from orchestrator.store import lineage, workers
from workers.config import SUBMIT
from workers.verbs import beats_heard, say

SIGN_OF_LIFE_SECONDS = 5.0
LOOK_SECONDS = 2.0
"""Between two looks whether the database is still what it was."""
SWITCH_SECONDS = 0.0005
"""How soon a thread that comes back from the database runs again beside those that send: it comes
back from each statement, which takes a tenth of Python's own 5 ms."""
READY_SECONDS = 60.0
"""How long a chunk waits at a process's start for that; then its rows come again."""
_LOG = logging.getLogger(__name__)
_T = TypeVar("_T")


class Process:
    """This process's parts."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.runtime: Runtime = open_runtime(worker=True)
        self.owner, self._lock = presence.announce(self.runtime.context.presence)
        self._runner = asyncio.Runner()
        self._desks: Desks | None = None
        self.quiet = threading.Lock()
        """Held while chunks are worked at, and while the journal is merged."""
        self.ready = threading.Event()
        """What dead processes of this machine have left is merged."""
        self.rejoiner = rejoining.Rejoiner(
            self.context,
            socket.gethostname(),
            own=lambda: self._desks.journal.path if self._desks else None,
            quiet=lambda: self.quiet,
            grace=self.context.timing.rejoin_grace,
        )

    @property
    def context(self) -> Context:
        return self.runtime.context

    def desk(self, account: str) -> Desk | None:
        """The account's desk; None where its key is not configured here."""
        return self._opened().by_account.get(account)

    def desks(self) -> list[Desk]:
        """Every account's."""
        return list(self._opened().by_account.values())

    def _opened(self) -> Desks:
        """Made on first use, since they need the API keys and this process's event loop."""
        if self._desks is None:
            self._desks = self.run(self._make_desks())
        return self._desks

    async def _make_desks(self) -> Desks:
        return make_desks(self.runtime.settings, self.context, self.owner)

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        # What log records are bound to goes along.
        return self._runner.run(work, context=contextvars.copy_context())

    def sign(self, queues: str) -> None:
        """Tell this machine that the process is at work: `orchestrator health` looks."""
        presence.sign(self._lock, f"worker {socket.gethostname()} {queues}")

    def work(self, chunk: Coroutine[Any, Any, _T]) -> _T:
        """Work at a chunk, not while the journal is merged."""
        if _sign is not None and not self.ready.wait(READY_SECONDS):
            chunk.close()
            raise ServiceError(
                "what this machine's journals know is not merged yet, so nothing is sent",
                mend="The log of this worker says what is in the way; it goes on by itself.",
                code="not_merged",
            )
        with self.quiet:
            return self.run(chunk)

    def close(self) -> None:
        if self._desks is not None:
            with contextlib.suppress(OSError, RuntimeError):
                self.run(self._desks.client.aclose())
            self._desks.journal.close()
            self._complete(self._desks)
        self._runner.close()
        self.runtime.close()
        presence.bury(self.context.presence, [self.owner])
        os.close(self._lock)

    def _complete(self, desks: Desks) -> None:
        """Nobody has to read again what was all recorded; else the next start does."""
        store = self.context.store
        unrecorded = any(desk.unrecorded.is_set() for desk in desks.by_account.values())
        if unrecorded or store.went_back is not None:
            return
        with contextlib.suppress(OrchestratorError), store.write() as tx:
            lineage.complete(tx, desks.journal.names, epoch=self.rejoiner.joined)


_process: Process | None = None
_making = threading.Lock()
"""The sign of life may be the one that opens them, while a task does."""


def current() -> Process:
    """The process's parts; made where no signal did it (the threads and solo pools)."""
    global _process  # noqa: PLW0603 one process, one set of parts
    with _making:
        if _process is None or _process.pid != os.getpid():
            _process = Process()
        return _process


class SignOfLife(threading.Thread):
    """Tells the database and this machine every few seconds that processes are at work.

    In a pool's main process there is none: it forks again whenever a child has died, and a SQLite
    that is forked in the middle of a write takes itself for locked for ever.
    """

    def __init__(self, name: str, *, processes: int, queues: Collection[str]) -> None:
        super().__init__(daemon=True, name="sign-of-life")
        self._name = name
        self._processes = processes
        self._submits = SUBMIT in queues
        self._queues = ",".join(sorted(queues))
        self.over = threading.Event()

    def run(self) -> None:
        shown = 0.0
        while True:
            try:
                process = current()
                process.sign(self._queues)
                self._look(process)
                if self.over.is_set() or time.monotonic() - shown >= SIGN_OF_LIFE_SECONDS:
                    self._say(process)
                    shown = time.monotonic()
            except OrchestratorError as error:
                # The database is away; dispatch needs it too, so nobody is misled.
                say("sign of life", error)
            if self.over.is_set():
                return
            self.over.wait(LOOK_SECONDS)

    @staticmethod
    def _look(process: Process) -> None:
        rejoiner = process.rejoiner
        try:
            rejoiner.run_once()
            process.ready.set()
        finally:
            for report in rejoiner.reports:
                _LOG.warning("%s", report)
            rejoiner.reports.clear()

    def _say(self, process: Process) -> None:
        """Write the sign, or take it away at the end."""
        about = machine.about(process.runtime.settings, self._queues.split(","))
        store = process.context.store
        before = time.time_ns()
        with store.write() as tx:
            if self.over.is_set():
                workers.gone(tx, self._name)
                return
            if not store.is_sqlite:
                skew = clocks.measured(before // 1_000_000, tx.now, time.time_ns() // 1_000_000)
                about = replace(about, ahead=skew.ahead, doubt=skew.doubt)
            workers.seen(
                tx, self._name, processes=self._processes, submits=self._submits, about=about
            )
            workers.heard(tx, beats_heard(2 * SIGN_OF_LIFE_SECONDS))


_sign: SignOfLife | None = None


def _show_up(processes: int) -> None:
    global _sign  # noqa: PLW0603 one process, one sign
    _sign = SignOfLife(
        f"{socket.gethostname()}:{os.getpid()}",
        processes=processes,
        queues=list(current_app.amqp.queues.consume_from),
    )
    _sign.start()


def _open_parts() -> None:
    """At once, so that the first task finds them; by whoever is next if the database is away."""
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        current()
    except OrchestratorError as error:
        say("start", error)


@worker_process_init.connect
def _open(**_: object) -> None:
    _open_parts()
    _show_up(1)


@worker_ready.connect
def _open_unforked(sender: Any, **_: object) -> None:
    """The threads and solo pools have no processes of their own."""
    if not isinstance(sender.pool, prefork.TaskPool):
        _open_parts()
        _show_up(sender.pool.num_processes)


@worker_process_shutdown.connect
def _close(**_: object) -> None:
    _sign_off()
    if _process is not None and _process.pid == os.getpid():
        _process.close()


@worker_shutting_down.connect
def _sign_off(**_: object) -> None:
    if _sign is not None:
        _sign.over.set()
        _sign.join(timeout=2)
