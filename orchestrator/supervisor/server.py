"""The supervisor process: `python -m orchestrator.supervisor`, started by `client.connect`."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import logging
import os
import secrets
import signal
import socket
import time
from pathlib import Path

from orchestrator import places
from orchestrator.settings import Settings, load_settings
from orchestrator.supervisor import children, forking
from orchestrator.supervisor.children import Child, Command
from orchestrator.telemetry import logs
from orchestrator.telemetry.logs import about

_log = logging.getLogger(__name__)
RESTART_SECONDS = 0.5
LONGEST_RESTART_SECONDS = 30.0
STEADY_SECONDS = 10.0
"""A process that ran this long and died is started again at once."""
GIVE_UP_AFTER = 5


class Supervisor:
    """Keeps the processes running while anybody is connected."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._clients: set[asyncio.StreamWriter] = set()
        self._keepers: dict[str, asyncio.Task[None]] = {}
        self._stopping = asyncio.Event()
        self._flower: dict[str, object] | None = None
        self._pids: dict[str, int] = {}

    async def serve(self, path: Path) -> None:
        """Own the processes until the last client has left; `path` lies in a private folder."""
        server = await asyncio.start_unix_server(self._attend, path)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        for command in children.commands(self._settings):
            self._keep(command)
            if command.name == children.BROKER:
                await self._broker_ready()
        try:
            await self._stopping.wait()
        finally:
            # No new client from here on: one that comes now starts the next supervisor.
            server.close()
            unlink(path)
            await self._stop()
            for writer in self._clients:
                writer.close()

    async def _broker_ready(self) -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and not self._stopping.is_set():
            try:
                reader, writer = await asyncio.open_unix_connection(self._settings.broker_socket)
                writer.write(b"PING\r\n")
                answer = await reader.readline()
                writer.close()
                if answer.startswith(b"+PONG"):
                    return
            except OSError:
                pass
            await asyncio.sleep(0.02)

    def _keep(self, command: Command) -> None:
        self._keepers[command.name] = asyncio.create_task(self._keep_running(command))

    async def _keep_running(self, command: Command) -> None:
        failures = 0
        while True:
            started = time.monotonic()
            code = await self._run(command)
            steady = time.monotonic() - started > STEADY_SECONDS
            failures = 0 if steady else failures + 1
            gave_up = failures >= GIVE_UP_AFTER
            event = "gave_up" if gave_up else "restarted"
            told = about(child=command.name, code=code)
            _log.warning("a process ended: %s", event, extra=told)
            self._tell(event=event, process=command.name, code=code)
            if gave_up:
                return
            wait = min(RESTART_SECONDS * 2**failures, LONGEST_RESTART_SECONDS)
            await asyncio.sleep(0 if steady else wait)

    async def _run(self, command: Command) -> int | None:
        """Its exit code; None where it could not be started. Cancelled, it ends the process."""
        try:
            process = await children.start(self._settings, command)
        except (OSError, EOFError):
            _log.exception("a process did not start", extra=about(child=command.name))
            return None
        self._pids[command.name] = process.pid
        try:
            return await process.wait()
        except asyncio.CancelledError:
            await _end(process, command.grace_seconds)
            raise

    async def _stop(self) -> None:
        """Beat first, then the workers, who finish their chunks; the broker last."""
        broker = self._keepers.pop(children.BROKER, None)
        for keeper in self._keepers.values():
            keeper.cancel()
        await asyncio.gather(*self._keepers.values(), return_exceptions=True)
        if broker is not None:
            broker.cancel()
            await asyncio.gather(broker, return_exceptions=True)

    async def _attend(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client: greet it, serve it until it leaves, stop when it was the last."""
        with contextlib.suppress(ConnectionError, ValueError, asyncio.IncompleteReadError):
            wish = json.loads(await reader.readline())
            if wish["settings"] != self._settings.digest():
                _send(writer, event="other_settings")
                writer.close()
                return
            self._clients.add(writer)
            if wish.get("flower"):
                self._start_flower()
            _send(writer, event="ready", pids=self._pids, flower=self._flower)
            await reader.read()
        if len(self._clients) == 1 and writer in self._clients:
            # Its connection stays open until all is stopped, so that it can wait for that.
            self._stopping.set()
            return
        self._clients.discard(writer)
        writer.close()

    def _start_flower(self) -> None:
        if self._flower is not None:
            return
        chosen = self._settings.flower_basic_auth
        credentials = chosen.get_secret_value() if chosen else f"me:{secrets.token_urlsafe(12)}"
        port = self._settings.flower_port or _free_port()
        self._flower = {"url": f"http://127.0.0.1:{port}", "credentials": credentials}
        self._keep(children.flower(self._settings, port=port, credentials=credentials))

    def _tell(self, **event: object) -> None:
        for writer in self._clients:
            with contextlib.suppress(ConnectionError):
                _send(writer, **event)


def _send(writer: asyncio.StreamWriter, **event: object) -> None:
    writer.write(json.dumps(event).encode() + b"\n")


async def _end(process: Child, grace_seconds: float) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), grace_seconds)
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def unlink(path: Path) -> None:
    path.unlink(missing_ok=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main() -> None:
    """Take the lock (waiting for a predecessor that is stopping), then serve."""
    settings = load_settings()
    logs.start(settings)
    folder = places.runtime_dir(settings.installation)
    lock = os.open(folder / "supervisor.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    unlink(folder / "supervisor.sock")
    forking.prepare()
    asyncio.run(Supervisor(settings).serve(folder / "supervisor.sock"))
