"""A server on a loopback socket that answers each request with the bytes it was given.

It knows no HTTP beyond where a request ends, so that an answer can be as broken as a network makes
it: truncated, dripped, reset or never sent.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

Action = Callable[[asyncio.StreamWriter], Awaitable[None]]
"""Does what it likes with the connection, which is closed after it."""
Answer = bytes | Action


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it came; header names in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(slots=True)
class RawServer:
    """`answers` are used in order, the last one again and again."""

    answers: tuple[Answer, ...]
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    port: int = 0

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api/v1"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection's requests until it ends or an action takes it over."""
        self.connections += 1
        try:
            while (request := await _read_request(reader)) is not None:
                turn = min(len(self.requests), len(self.answers) - 1)
                self.requests.append(request)
                answer = self.answers[turn]
                if not isinstance(answer, bytes):
                    await answer(writer)
                    return
                writer.write(answer)
                await writer.drain()
                if b"content-length" not in answer.lower():
                    return
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()


async def _read_request(reader: asyncio.StreamReader) -> Request | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    except asyncio.IncompleteReadError:
        return None
    method, target, _ = head[0].split(" ")
    pairs = (line.split(":", 1) for line in head[1:] if line)
    headers = {name.lower(): value.strip() for name, value in pairs}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(method, target, headers, body)


@asynccontextmanager
async def raw_server(*answers: Answer) -> AsyncIterator[RawServer]:
    """A server for one test."""
    script = RawServer(answers)
    connections: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(script.serve(reader, writer))
        connections.add(task)
        task.add_done_callback(connections.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    script.port = server.sockets[0].getsockname()[1]
    try:
        yield script
    finally:
        server.close()
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)


def http(status: int, body: object = b"", **headers: str) -> bytes:
    """A whole answer; a body that is not bytes goes as JSON, `_` in header names is `-`."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(content)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


async def close(_writer: asyncio.StreamWriter) -> None:
    """End the connection without a word."""


async def reset(writer: asyncio.StreamWriter) -> None:
    """End the connection with a TCP reset."""
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def hang(_writer: asyncio.StreamWriter) -> None:
    """Never answer."""
    await asyncio.Event().wait()


def then(first: bytes, action: Action) -> Action:
    """Some bytes, then the action."""

    async def both(writer: asyncio.StreamWriter) -> None:
        writer.write(first)
        await writer.drain()
        await action(writer)

    return both


def drip(answer: bytes) -> Action:
    """The answer, byte by byte, so slowly that no single read ever times out, and never the end."""

    async def slowly(writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        for byte in answer:
            writer.write(bytes([byte]))
            await writer.drain()
            pause = loop.create_future()
            loop.call_later(0.02, pause.cancel)
            await asyncio.wait([pause])

    return slowly
