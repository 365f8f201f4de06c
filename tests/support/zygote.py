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
from typing import NoReturn

_LONGEST = 1 << 20
_LEFT_OUT = ("orchestrator.sandbox", "orchestrator.store.migrations", "orchestrator.__main__")


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
        request = json.dumps({"arguments": arguments, "cwd": str(cwd), "env": dict(env)}).encode()
        ours, theirs = socket.socketpair()
        with ours, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            with theirs, self._lock:
                files = [out.fileno(), err.fileno(), theirs.fileno()]
                socket.send_fds(self._socket, [request], files)
            ours.settimeout(timeout)
            with ours.makefile("r") as replies:
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
