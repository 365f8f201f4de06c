"""What people write instead: loops that send every row and remember nothing.

`python -m tests.benchmarks.contenders KIND BASE_URL ROWS` prints what it took as JSON. Each keeps
fifty requests in flight: `httpx` is the usual script, `httpx-aiohttp` the same over aiohttp's
connections, `aiohttp` the least that Python's fastest common client needs.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
import uuid
from collections.abc import Awaitable, Callable

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

IN_FLIGHT = 50
_SCENE = "a slow dolly shot through a market at night, lanterns swaying in a light rain"


def headers() -> dict[str, str]:
    return {"Authorization": "Bearer mv_live_bench", "Idempotency-Key": uuid.uuid4().hex}


def body(number: int) -> dict[str, object]:
    values = {"prompt": f"{_SCENE}, take {number}", "size": "16:9", "duration": 5, "mode": "std"}
    return {"model": "kling-v2-6", "input": values}


async def script(base_url: str, rows: int, transport: httpx.AsyncBaseTransport | None) -> list[str]:
    """asyncio, httpx and a semaphore."""
    semaphore = asyncio.Semaphore(IN_FLIGHT)

    async def send(client: httpx.AsyncClient, number: int) -> str:
        async with semaphore:
            answer = await client.post(
                f"{base_url}/tasks", json=body(number), headers=headers(), timeout=60
            )
        answer.raise_for_status()
        return str(answer.json()["task_id"])

    async with httpx.AsyncClient(transport=transport) as client:
        return await asyncio.gather(*(send(client, number) for number in range(rows)))


async def bare(base_url: str, rows: int) -> list[str]:
    """aiohttp with as many workers as may be in flight."""
    numbers = iter(range(rows))
    tasks: list[str] = []

    async def work(session: aiohttp.ClientSession) -> None:
        for number in numbers:
            async with session.post(
                f"{base_url}/tasks", json=body(number), headers=headers()
            ) as answer:
                tasks.append((await answer.json())["task_id"])

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=IN_FLIGHT)) as session:
        await asyncio.gather(*(work(session) for _ in range(IN_FLIGHT)))
    return tasks


KINDS: dict[str, Callable[[str, int], Awaitable[list[str]]]] = {
    "httpx": lambda url, rows: script(url, rows, None),
    "httpx-aiohttp": lambda url, rows: script(url, rows, AiohttpTransport()),
    "aiohttp": bare,
}


async def measured(kind: str, base_url: str, rows: int) -> dict[str, float]:
    await KINDS[kind](base_url, IN_FLIGHT)
    before = resource.getrusage(resource.RUSAGE_SELF)
    began = time.perf_counter()
    tasks = await KINDS[kind](base_url, rows)
    seconds = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_SELF)
    assert len(set(tasks)) == rows
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return {"rows": rows, "seconds": seconds, "cpu": cpu}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measured(sys.argv[1], sys.argv[2], int(sys.argv[3])))))
