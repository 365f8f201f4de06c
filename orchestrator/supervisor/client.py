"""Connecting to the supervisor, starting it where there is none."""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from orchestrator import places
from orchestrator.errors import ConfigError, ServiceError
from orchestrator.settings import Settings

START_SECONDS = 120.0
"""A predecessor may still be finishing its chunks."""


class Session:
    """A connection that keeps the processes alive; closing it lets them go."""

    def __init__(self, connection: socket.socket, greeting: dict[str, object]) -> None:
        self._connection = connection
        self._buffer = b""
        self.greeting = greeting

    @property
    def flower(self) -> dict[str, str] | None:
        """{"url", "credentials"} where Flower was started."""
        found = self.greeting.get("flower")
        return {str(k): str(v) for k, v in found.items()} if isinstance(found, dict) else None

    @property
    def pids(self) -> dict[str, int]:
        """The processes that were running when this session began: name -> process id."""
        found = self.greeting.get("pids")
        return {str(k): int(v) for k, v in found.items()} if isinstance(found, dict) else {}

    def events(self, wait_seconds: float = 0.0) -> list[dict[str, object]]:
        """What happened to the processes since the last call; waits at most so long for news.

        Raises ServiceError where the supervisor is gone.
        """
        readable, _, _ = select.select([self._connection], [], [], wait_seconds)
        if readable:
            received = self._connection.recv(65536)
            if not received:
                raise ServiceError(
                    "the supervisor of the local processes is gone",
                    mend="Run the same command again; nothing is lost.",
                    code="supervisor_gone",
                )
            self._buffer += received
        *lines, self._buffer = self._buffer.split(b"\n")
        return [json.loads(line) for line in lines]

    def leave(self) -> None:
        """Let go, and wait for the processes to stop if nobody else needs them."""
        try:
            self._connection.shutdown(socket.SHUT_WR)
            while self._connection.recv(65536):
                pass
        except OSError:
            pass
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.leave()


def connect(settings: Settings, *, flower: bool = False) -> Session:
    """Join the running processes, or start them. Raises ConfigError, ServiceError."""
    path = places.runtime_dir(settings.installation) / "supervisor.sock"
    deadline = time.monotonic() + START_SECONDS
    starter: subprocess.Popen[bytes] | None = None
    while True:
        session = _try(path, settings, flower=flower)
        if session is not None:
            return session
        if starter is None:
            starter = _start(settings)
        elif starter.poll() is not None or time.monotonic() > deadline:
            log = settings.data_dir / "logs" / "supervisor.log"
            raise ServiceError(
                "the local processes did not start",
                mend=f"Look into {log}; `orchestrator doctor` may know more.",
                code="no_supervisor",
            )
        time.sleep(0.02)


def _try(path: Path, settings: Settings, *, flower: bool) -> Session | None:
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(str(path))
        wish = {"settings": settings.digest(), "flower": flower}
        connection.sendall(json.dumps(wish).encode() + b"\n")
        greeting = _first_line(connection)
    except OSError:
        connection.close()
        return None
    if greeting is None:
        connection.close()
        return None
    if greeting.get("event") == "other_settings":
        connection.close()
        raise ConfigError(
            "the processes that run here were started with other settings",
            mend="Stop the other `run` or `up`, or use its settings.",
            code="other_settings",
        )
    return Session(connection, greeting)


def _first_line(connection: socket.socket) -> dict[str, object] | None:
    received = b""
    while not received.endswith(b"\n"):
        byte = connection.recv(1)
        if not byte:
            return None
        received += byte
    greeting: dict[str, object] = json.loads(received)
    return greeting


def _start(settings: Settings) -> subprocess.Popen[bytes]:
    """In a session of its own: a Ctrl-C is for the command, which then lets go in order."""
    logs = settings.data_dir / "logs"
    logs.mkdir(mode=0o700, exist_ok=True)
    with (logs / "supervisor.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "orchestrator.supervisor"],
            cwd=settings.data_dir,
            env={**os.environ, **settings.environment()},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
