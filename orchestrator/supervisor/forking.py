"""Workers and beat as forks of one process that has imported what all of them need.

Importing is a second or more of processor time, the same for each of them: done once, every later
start is a fork, and their memory is shared where nobody writes. Where that process dies, its forks
are told to end, and the next start begins another.
"""

from __future__ import annotations

import asyncio
import ctypes
import importlib
import multiprocessing
import os
import signal
import sys
from multiprocessing import forkserver
from multiprocessing.context import ForkServerProcess
from pathlib import Path

_CONTEXT = multiprocessing.get_context("forkserver")
_RUNS, _PRELOADED = "workers.run_celery", "workers.preloaded"
_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15


def prepare() -> None:
    """Begin importing; nobody has to wait for it before the first start."""
    _CONTEXT.set_forkserver_preload([_PRELOADED])
    forkserver.ensure_running()


class Forked:
    """A process that runs Celery; as much of `asyncio.subprocess.Process` as is needed of one."""

    def __init__(self, process: ForkServerProcess) -> None:
        self._process = process
        self.pid = process.pid or 0

    async def wait(self) -> int:
        """Its exit code; negative for the signal that ended it. One waits at a time."""
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        loop.add_reader(self._process.sentinel, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(self._process.sentinel)
        self._process.join()
        return int(self._process.exitcode or 0)

    def terminate(self) -> None:
        self._process.terminate()

    def kill(self) -> None:
        self._process.kill()


async def fork(name: str, arguments: tuple[str, ...], folder: Path, log: Path) -> Forked:
    """Run Celery with these arguments in `folder`, its output in `log`. Raises OSError, EOFError.

    A start that is cancelled has ended what it started.
    """
    process = _CONTEXT.Process(target=_run, args=(name, arguments, folder, log), name=name)
    starting = asyncio.ensure_future(asyncio.to_thread(process.start))
    try:
        await asyncio.shield(starting)
    except asyncio.CancelledError:
        await starting
        process.terminate()
        raise
    return Forked(process)


def die_with_parent() -> None:
    """Linux: end this process when the one that started it is gone, even by kill -9."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _run(name: str, arguments: tuple[str, ...], folder: Path, log: Path) -> None:
    die_with_parent()
    supervisor = multiprocessing.parent_process()
    if supervisor is None or not supervisor.is_alive():
        # It was gone before what forks could ask to end with it.
        return
    _prctl(_PR_SET_NAME, name.encode())
    os.chdir(folder)
    with log.open("ab") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    sys.exit(importlib.import_module(_RUNS).main(list(arguments)))


def _prctl(option: int, value: int | bytes) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value)
