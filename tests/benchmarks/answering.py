"""The least that answers as the provider does: as little of a server as keeps a connection open.

`python -m tests.benchmarks.answering --core 0 --ready FILE` writes its port to FILE. The first part
of a path says how it answers: `/50/api/v1/tasks` after 50 ms. A task has ended when it is asked
about; under `/0-queued/` it never does. `GET /counts` tells what came.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from pathlib import Path


class Counts:
    """What came so far."""

    def __init__(self) -> None:
        self.posts = 0
        self.gets = 0
        self.keys: set[bytes] = set()

    def to_json(self) -> bytes:
        told = {"posts": self.posts, "gets": self.gets, "keys": len(self.keys)}
        return json.dumps(told).encode()


class Connection(asyncio.Protocol):
    """One connection: requests in, answers out in their order."""

    def __init__(self, counts: Counts, loop: asyncio.AbstractEventLoop) -> None:
        self._counts = counts
        self._loop = loop
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        data = self._buffer + data
        while (end := data.find(b"\r\n\r\n")) >= 0:
            head = data[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(data) < end + 4 + length:
                break
            data = data[end + 4 + length :]
            self._answer(head)
        self._buffer = data

    def _answer(self, head: bytes) -> None:
        transport = self._transport
        assert transport is not None
        path = head[head.index(b" ") + 1 : head.index(b" ", 5)]
        how = path[1:].split(b"/", 1)[0]
        if how == b"counts":
            transport.write(whole(self._counts.to_json()))
            return
        latency, _, state = how.partition(b"-")
        if head.startswith(b"post"):
            at = head.find(b"idempotency-key:") + 16
            key = head[at:].split(b"\r\n", 1)[0].strip()
            self._counts.posts += 1
            self._counts.keys.add(key)
            answer = accepted(b"task_" + key[:24], b"queued")
        else:
            self._counts.gets += 1
            task = path.rpartition(b"/")[2]
            answer = accepted(task, state) if state else done(task)
        if latency == b"0":
            transport.write(answer)
        else:
            self._loop.call_later(int(latency) / 1000, transport.write, answer)


def accepted(task: bytes, state: bytes) -> bytes:
    return whole(
        b'{"request_id":"req_' + task + b'","task_id":"' + task + b'","status":"' + state + b'",'
        b'"cost_estimate":0.0414,"cost_actual":null,"output":null}'
    )


def done(task: bytes) -> bytes:
    return whole(
        b'{"request_id":"req_' + task + b'","task_id":"' + task + b'","status":"succeeded",'
        b'"cost_estimate":0.0414,"cost_actual":0.0414,'
        b'"output":{"videos":[{"url":"https://example.com/output/' + task + b'.mp4"}]}}'
    )


def whole(body: bytes) -> bytes:
    length = str(len(body)).encode()
    return (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "
        + length
        + b"\r\n\r\n"
        + body
    )


async def serve(ready: Path) -> None:
    loop = asyncio.get_running_loop()
    counts = Counts()
    server = await loop.create_server(lambda: Connection(counts, loop), "127.0.0.1", 0, backlog=512)
    part = ready.with_suffix(".part")
    part.write_text(str(server.sockets[0].getsockname()[1]))
    part.replace(ready)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--core", type=int, required=True)
    parser.add_argument("--ready", type=Path, required=True)
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {options.core})
    asyncio.run(serve(options.ready))


if __name__ == "__main__":
    main()
