"""2,000 videos, ten-minute URLs, a slow disk and a kill in the middle: none may be lost."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx

from orchestrator.domain.naming import DEFAULT_TEMPLATE, Template
from orchestrator.domain.outcome import AskLater, Detail, PollOutcome
from orchestrator.provider.video import VideoClient
from orchestrator.services import submission
from orchestrator.services.desk import Desk
from orchestrator.services.downloading import Downloader, Report
from orchestrator.services.targets import open_target
from orchestrator.store import batches, claims, views
from orchestrator.store.batches import Batch
from tests.support.cdn import Cdn, cdn
from tests.support.shop import Shop, accept
from tests.support.valkey import short_directory, valkey_server

VIDEOS = 2_000
SIZE = 300_000
LIFETIME_SECONDS = 600
WRITE_SECONDS = 0.005
AT_ONCE = 4
CHUNK = 50


class SlowDisk(ThreadPoolExecutor):
    """Everything that may block takes a while longer."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        def slowly() -> Any:
            time.sleep(WRITE_SECONDS)
            return fn(*args, **kwargs)

        return super().submit(slowly)


def save(place: Path, broker: str) -> Report:
    """Save the whole batch."""
    shop = Shop(place, broker, accept)
    with shop.store.read() as tx:
        batch = batches.latest(tx, "shop")
    assert batch is not None

    async def no_answer(_task_id: str) -> PollOutcome:
        return AskLater(Detail())

    async def run() -> Report:
        asyncio.get_running_loop().set_default_executor(SlowDisk())
        client = VideoClient(read_seconds=10, allow_private=False, trusted="127.0.0.1")
        target = open_target(str(place / "videos"), place / "work")
        names = Template(DEFAULT_TEMPLATE, ("id", "prompt"))
        try:
            return await Downloader(
                shop.context, batch, target, names, client, no_answer, AT_ONCE
            ).run(lambda: True)
        finally:
            await client.aclose()

    return asyncio.run(run())


def bought(place: Path, broker: str, files: Cdn) -> tuple[Shop, Batch]:
    """A batch whose URLs expire one after another, the last in ten minutes."""
    end = int(time.time()) + LIFETIME_SECONDS

    async def answer(request: httpx.Request) -> httpx.Response:
        row = request.content.decode().partition("a kettle ")[2].partition('"')[0]
        url = f"{files.root}/r{row}.mp4?expires={end - int(row) % 60}"
        shape = {"request_id": "req", "task_id": f"task_{row}", "cost_estimate": 0.04}
        done = {"status": "succeeded", "cost_actual": 0.04, "output": {"videos": [{"url": url}]}}
        return httpx.Response(200, json=shape | done)

    shop = Shop(place, broker, answer)
    batch = shop.submit(VIDEOS)
    with shop.store.read() as tx:
        ids = [row.item_id for row in claims.next_items(tx, batch.id, VIDEOS)]

    async def work(desk: Desk) -> int:
        for start in range(0, len(ids), CHUNK):
            await submission.run_chunk(desk, "b", ids[start : start + CHUNK], probe=False)
        return 0

    asyncio.run(shop.with_desk(work))
    return shop, batch


def kill_in_the_middle(place: Path, broker: str) -> None:
    """Begin to save in another process, and kill it once a third is there."""
    child = multiprocessing.get_context("spawn").Process(target=save, args=(place, broker))
    child.start()
    assert child.pid is not None
    while child.is_alive() and len(list(place.glob("videos/*.mp4"))) < VIDEOS // 3:
        child.join(0.05)
    os.kill(child.pid, signal.SIGKILL)
    child.join()


def report() -> None:
    """Print what came of it; fails where a video is missing or wrong."""
    with (
        short_directory() as sockets,
        valkey_server(sockets) as server,
        tempfile.TemporaryDirectory() as folder,
        cdn() as files,
    ):
        files.size = SIZE
        place = Path(folder)
        shop, batch = bought(place, str(server.url), files)
        began = time.perf_counter()
        kill_in_the_middle(place, str(server.url))
        rest = save(place, str(server.url))
        seconds = time.perf_counter() - began
        with shop.store.read() as tx:
            rows = list(views.results(tx, batch.id))
        for row in rows:
            path = f"/{row.row_key}.mp4"
            assert row.video_path is not None, path
            assert Path(row.video_path).read_bytes() == files.content(path), path
        again = sum(sent - SIZE for sent in files.sent.values())
        twice = sum(sent >= 2 * SIZE for sent in files.sent.values())
        assert len(rows) == VIDEOS == rest.saved + rest.known
        # What is on its way in a socket, or in memory, when its reader is killed counts as sent.
        assert twice <= AT_ONCE
        assert not list(place.rglob("*.part"))
        print(
            f"{VIDEOS:,} videos, killed after {rest.known:,}: {rest.saved:,} saved after it, "
            f"0 lost, {twice} fetched twice whole, {again:,} bytes sent more than once, "
            f"{seconds:.0f} s"
        )


if __name__ == "__main__":
    report()
