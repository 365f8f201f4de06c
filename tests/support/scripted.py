"""A raw server beside the test, answering from a thread of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

from tests.support.raw_server import Answer, RawServer, raw_server


@contextmanager
def scripted(*answers: Answer) -> Iterator[RawServer]:
    """`answers` in their order, the last one again and again."""
    ready, loops, servers, ends = Event(), [], [], []

    async def serve() -> None:
        async with raw_server(*answers) as server:
            end = asyncio.Event()
            loops.append(asyncio.get_running_loop())
            servers.append(server)
            ends.append(end)
            ready.set()
            await end.wait()

    thread = Thread(target=asyncio.run, args=(serve(),), daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield servers[0]
    finally:
        loops[0].call_soon_threadsafe(ends[0].set)
        thread.join()
