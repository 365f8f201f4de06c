"""Runs commands in processes of their own without starting an interpreter for each.

A server imports the whole program once and forks for every command: what a command does, prints and
returns is the same, and most of its processor time, which is imports, is saved. It ends with the
process that started it.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NoReturn, TypeAlias

_LONGEST = 1 << 20
_LEFT_OUT = ("orchestrator.sandbox", "orchestrator.store.migrations", "orchestrator.__main__")


class Started:
    """A command that stays; as much of `subprocess.Popen` as is needed of one.

    What it prints and what it complains of come out of `stdout` together.
    """

    def __init__(self, replies: socket.socket, output: int) -> None:
        self._socket = replies
        self._replies = replies.makefile("r")
        self.stdout = os.fdopen(output, encoding="utf-8")
        self.pid = int(self._replies.readline())
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit code, or None while it runs."""
        return self.returncode if self.returncode is not None else self._told(0)

    def _told(self, timeout: float | None) -> int | None:
        if select.select([self._socket], [], [], timeout)[0]:
            with self._socket, self._replies:
                self.returncode = int(self._replies.readline())
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Raises TimeoutExpired."""
        code = self.returncode if self.returncode is not None else self._told(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
        return code

    def communicate(self, timeout: float | None = None) -> tuple[str, None]:
        """All that it still prints until it has ended. Raises TimeoutExpired."""
        began = time.monotonic()
        printed: list[str] = []
        reader = threading.Thread(target=lambda: printed.append(self.stdout.read()), daemon=True)
        reader.start()
        reader.join(timeout)
        if reader.is_alive():
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
        self.stdout.close()
        self.wait(None if timeout is None else max(0.0, timeout - (time.monotonic() - began)))
        return printed[0], None

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


Running: TypeAlias = "Started | subprocess.Popen[str]"


class Zygote:
    """The client's side; its requests may come from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _LONGEST)
        with theirs:
            self._server = subprocess.Popen(
                [sys.executable, "-m", "tests.support.zygote", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            )
        atexit.register(self._close)

    def _close(self) -> None:
        self._socket.close()
        self._server.wait()

    def call(
        self, arguments: Sequence[str], *, cwd: Path, env: Mapping[str, str], timeout: float
    ) -> subprocess.CompletedProcess[str]:
        """Run `orchestrator` with these arguments to its end, as `subprocess.run` would."""
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            ours = self._ask(arguments, cwd, env, out.fileno(), err.fileno())
            ours.settimeout(timeout)
            with ours, ours.makefile("r") as replies:
                pid = int(replies.readline())
                try:
                    code = int(replies.readline())
                except TimeoutError:
                    os.kill(pid, 9)
                    raise subprocess.TimeoutExpired(list(arguments), timeout) from None
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess(
                list(arguments), code, out.read().decode(), err.read().decode()
            )

    def start(self, arguments: Sequence[str], *, cwd: Path, env: Mapping[str, str]) -> Started:
        """Run `orchestrator` with these arguments, as `subprocess.Popen` would."""
        output, printed = os.pipe()
        try:
            return Started(self._ask(arguments, cwd, env, printed, printed), output)
        finally:
            os.close(printed)

    def _ask(
        self, arguments: Sequence[str], cwd: Path, env: Mapping[str, str], out: int, err: int
    ) -> socket.socket:
        """Where the process's id will be told, and at its end its exit code."""
        request = json.dumps({"arguments": arguments, "cwd": str(cwd), "env": dict(env)}).encode()
        ours, theirs = socket.socketpair()
        with theirs, self._lock:
            socket.send_fds(self._socket, [request], [out, err, theirs.fileno()])
        return ours


@cache
def zygote() -> Zygote:
    """This process's."""
    return Zygote()


def _serve(channel: socket.socket) -> None:
    while True:
        message, files, _, _ = socket.recv_fds(channel, _LONGEST, 3)
        if not message:
            return
        if os.fork() == 0:
            channel.close()
            _attend(json.loads(message), files)
        for file in files:
            os.close(file)
        while _reaped():
            pass


def _reaped() -> bool:
    try:
        return os.waitpid(-1, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return False


def _attend(request: dict[str, object], files: Sequence[int]) -> None:
    """Start the command, tell its id, wait, tell its exit code."""
    out, err, reply = files
    pid = os.fork()
    if pid == 0:
        os.close(reply)
        _become(request, out, err)
    os.write(reply, f"{pid}\n".encode())
    _, status = os.waitpid(pid, 0)
    os.write(reply, f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os._exit(0)


def _become(request: dict[str, object], out: int, err: int) -> NoReturn:
    """Ends with the command's code, without taking each module apart, which is half a second."""
    from orchestrator import __main__ as command

    os.dup2(out, 1)
    os.dup2(err, 2)
    os.close(out)
    os.close(err)
    os.chdir(str(request["cwd"]))
    os.environ.clear()
    os.environ.update(request["env"])  # type: ignore[call-overload]
    time.tzset()
    sys.argv = ["orchestrator", *request["arguments"]]  # type: ignore[misc]
    code: object = 1
    try:
        command.main()
    except SystemExit as ended:
        code = ended.code
    except BaseException:  # noqa: BLE001 what an interpreter prints, it prints too
        traceback.print_exc()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 0)


def _import_all() -> None:
    import orchestrator

    for module in pkgutil.walk_packages(orchestrator.__path__, "orchestrator."):
        if not module.name.startswith(_LEFT_OUT):
            importlib.import_module(module.name)
    assert threading.active_count() == 1, "a thread would be lost in each fork"


if __name__ == "__main__":
    _import_all()
    _serve(socket.socket(fileno=int(sys.argv[1])))
