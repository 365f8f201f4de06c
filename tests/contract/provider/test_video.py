"""What every answer to a video's URL means, over a real socket; nothing of ours is sent to it."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from orchestrator.provider.video import Cut, Dead, Fetched, VideoClient, Whole
from tests.support.raw_server import Answer, RawServer, close, hang, http, raw_server, reset, then

VIDEO = bytes(range(256)) * 40
HALF = len(VIDEO) // 2
WHOLE = Whole(len(VIDEO), hashlib.sha256(VIDEO).hexdigest())


def fetch(
    part: Path,
    *answers: Answer,
    times: int = 1,
    private: bool = True,
    read_seconds: float = 60,
) -> tuple[list[Fetched], RawServer]:
    async def run() -> tuple[list[Fetched], RawServer]:
        async with raw_server(*answers) as server:
            url = f"http://127.0.0.1:{server.port}/v.mp4"
            client = VideoClient(
                read_seconds=read_seconds, allow_private=private, trusted="127.0.0.1"
            )
            try:
                return [await client.fetch(url, part) for _ in range(times)], server
            finally:
                await client.aclose()

    return asyncio.run(run())


def rest(start: int, **headers: str) -> bytes:
    extent = f"bytes {start}-{len(VIDEO) - 1}/{len(VIDEO)}"
    return http(206, VIDEO[start:], ETag='"a"', Content_Range=extent, **headers)


def part_of(video: bytes, etag: str, total: int) -> bytes:
    """What a server sends that does not look at If-Range."""
    extent = f"bytes {HALF}-{total - 1}/{total}"
    return http(206, video[HALF:], ETag=etag, Content_Range=extent)


def broken(answer: bytes) -> Answer:
    return then(answer[: len(answer) - HALF], close)


@pytest.fixture
def part(tmp_path: Path) -> Path:
    return tmp_path / "v.part"


def test_a_whole_video_and_nothing_of_ours_in_the_request(part: Path) -> None:
    (fetched,), server = fetch(part, http(200, VIDEO, ETag='"a"'))
    assert fetched == WHOLE
    assert part.read_bytes() == VIDEO
    (request,) = server.requests
    assert not {"authorization", "cookie", "idempotency-key"} & set(request.headers)


def test_what_broke_off_goes_on_where_it_stopped(part: Path) -> None:
    found, server = fetch(part, broken(http(200, VIDEO, ETag='"a"')), rest(HALF), times=2)
    assert isinstance(found[0], Cut)
    assert found[1] == WHOLE
    assert part.read_bytes() == VIDEO
    assert server.requests[1].headers["range"] == f"bytes={HALF}-"
    assert server.requests[1].headers["if-range"] == '"a"'


@pytest.mark.parametrize(
    "first",
    [broken(http(200, VIDEO)), broken(http(200, VIDEO, ETag='W/"a"'))],
    ids=["no validator", "weak validator"],
)
def test_what_cannot_be_told_to_be_the_same_begins_anew(part: Path, first: Answer) -> None:
    found, server = fetch(part, first, http(200, VIDEO), times=2)
    assert found[1] == WHOLE
    assert "range" not in server.requests[1].headers


def test_a_server_that_ignores_ranges_or_has_another_video_now(part: Path) -> None:
    other = VIDEO[::-1]
    found, _ = fetch(
        part, broken(http(200, VIDEO, ETag='"a"')), http(200, other, ETag='"b"'), times=2
    )
    assert found[1] == Whole(len(other), hashlib.sha256(other).hexdigest())
    assert part.read_bytes() == other


@pytest.mark.parametrize(
    "odd",
    [
        http(416, Content_Range=f"bytes */{HALF}"),
        rest(HALF - 7),
        http(206, VIDEO[HALF:]),
        part_of(VIDEO, '"b"', len(VIDEO)),
        part_of(VIDEO + b"more", '"a"', len(VIDEO) + 4),
    ],
    ids=["416", "another range", "no range named", "another ETag", "another size"],
)
def test_a_part_that_does_not_fit_is_thrown_away(part: Path, odd: bytes) -> None:
    found, server = fetch(
        part, broken(http(200, VIDEO, ETag='"a"')), odd, http(200, VIDEO), times=3
    )
    assert isinstance(found[1], Cut)
    assert found[2] == WHOLE
    assert "range" not in server.requests[2].headers


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_dead_url(part: Path, status: int) -> None:
    assert fetch(part, http(status))[0] == [Dead(f"HTTP {status}")]


def test_a_web_page_is_no_video(part: Path) -> None:
    (fetched,), _ = fetch(part, http(200, b"<html>log in", Content_Type="text/html; charset=x"))
    assert isinstance(fetched, Dead)


@pytest.mark.parametrize(
    "answer",
    [http(500), http(429), http(200, b""), reset, close],
    ids=["500", "429", "empty", "reset", "close"],
)
def test_what_may_mend_is_tried_again(part: Path, answer: Answer) -> None:
    assert isinstance(fetch(part, answer)[0][0], Cut)


def test_what_hangs_is_given_up(part: Path) -> None:
    assert isinstance(fetch(part, hang, read_seconds=0.1)[0][0], Cut)


def test_a_part_that_nobody_asked_for(part: Path) -> None:
    assert isinstance(fetch(part, rest(HALF))[0][0], Cut)


def test_redirects_are_followed_so_far(part: Path) -> None:
    there = http(302, Location="/elsewhere.mp4")
    found, server = fetch(part, there, there, http(200, VIDEO))
    assert found == [WHOLE]
    assert server.requests[2].target == "/elsewhere.mp4"
    (endless,), _ = fetch(part, there)
    assert endless == Dead("it redirects more than 5 times")


@pytest.mark.parametrize(
    "where",
    ["http://localhost:9/v.mp4", "http://10.0.0.1/v.mp4", "http://[::1]/v", "file:///etc/passwd"],
)
def test_nobody_is_led_to_a_private_address(part: Path, where: str) -> None:
    (fetched,), server = fetch(part, http(302, Location=where), private=False)
    assert isinstance(fetched, Dead)
    assert len(server.requests) == 1


def test_a_part_that_was_whole_already_is_only_looked_at(part: Path) -> None:
    last = len(VIDEO) - 1
    found, server = fetch(part, http(200, VIDEO, ETag='"a"'), rest(last), times=2)
    assert found == [WHOLE, WHOLE]
    assert server.requests[1].headers["range"] == f"bytes={last}-"
    assert part.read_bytes() == VIDEO


class SlowDisk(ThreadPoolExecutor):
    """Its third call, which writes the first piece of a video, waits for `go`."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = count(1)
        self.began: Future[None] = Future()
        self.go = threading.Event()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        if next(self.calls) != 3:
            return super().submit(fn, *args, **kwargs)
        return super().submit(self._late, fn, *args, **kwargs)

    def _late(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self.began.set_result(None)
        self.go.wait()
        return fn(*args, **kwargs)


def cancel_in_a_write(part: Path, video: bytes, before: Callable[[], None]) -> None:
    """Fetch to a slow disk and cancel while it writes; the write ends afterwards."""

    async def run() -> None:
        disk = SlowDisk()
        asyncio.get_running_loop().set_default_executor(disk)
        client = VideoClient(read_seconds=30, allow_private=True, trusted="127.0.0.1")
        async with raw_server(http(200, video, ETag='"a"')) as server:
            fetching = asyncio.create_task(
                client.fetch(f"http://127.0.0.1:{server.port}/v.mp4", part)
            )
            try:
                await asyncio.wrap_future(disk.began)
                before()
                fetching.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await fetching
            finally:
                disk.go.set()
                await client.aclose()

    asyncio.run(run())


def test_a_fetch_cancelled_in_a_write_leaves_no_byte_twice(part: Path) -> None:
    video = VIDEO * 300
    cancel_in_a_write(part, video, lambda: None)
    kept = part.read_bytes()
    assert kept
    assert kept == video[: len(kept)]


def test_a_cancelled_fetch_ends_even_where_the_disk_fails(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    cancel_in_a_write(folder / "v.part", VIDEO * 300, lambda: shutil.rmtree(folder))
