"""Fetching a finished video: resumed by ranges, redirects bounded, never from a private address.

The URLs are foreign: nothing of ours is sent to them, the API key least of all.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from orchestrator.addresses import leads_inside

MAX_REDIRECTS = 5
CONNECT_SECONDS = 10.0
_WRITE_BYTES = 1 << 18
_HASH_BYTES = 1 << 22
_DEAD = frozenset({401, 403, 404, 410})
_OK, _PARTIAL, _UNSATISFIABLE = 200, 206, 416


@dataclass(frozen=True, slots=True)
class Whole:
    """The part file holds the whole video; size in bytes."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Cut:
    """It broke off, or never began; `fetched` bytes came by this try."""

    reason: str
    fetched: int = 0


@dataclass(frozen=True, slots=True)
class Dead:
    """This URL gives no video, now or later."""

    reason: str


Fetched = Whole | Cut | Dead


@dataclass(frozen=True, slots=True)
class _Begun:
    """`have`: bytes that can be built on; of what: its validator and, if told, whole size."""

    have: int = 0
    validator: str = ""
    total: int | None = None

    def fits(self, response: httpx.Response, start: int, total: int | None) -> bool:
        """Whether an answer goes on with it, or begins anew."""
        if start == 0:
            return True
        if start != self.have:
            return False
        named = response.headers.get("etag" if self.validator[0] == '"' else "last-modified")
        same = named is None or named.removeprefix("W/") == self.validator
        return same and self.total in {None, total}


class _Refused(Exception):  # noqa: N818 a decision, not an error
    """A URL that must not be followed."""


class VideoClient:
    """Fetches into part files. `trusted`: the one host that may be at a private address."""

    def __init__(self, *, read_seconds: float, allow_private: bool, trusted: str) -> None:
        self._allow_private = allow_private
        self._trusted = trusted
        timeout = httpx.Timeout(read_seconds, connect=min(CONNECT_SECONDS, read_seconds))
        self._http = httpx.AsyncClient(timeout=timeout, follow_redirects=False)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._http.aclose()

    async def fetch(self, url: str, part: Path) -> Fetched:
        """Continue `part`, or begin it. Raises OSError where the disk does not take it."""
        begun = await asyncio.to_thread(_resumable, part)
        headers = {"Accept-Encoding": "identity"}
        if begun.have:
            headers |= {"Range": f"bytes={begun.have}-", "If-Range": begun.validator}
        try:
            async with self._opened(url, headers) as response:
                return await _receive(response, part, begun)
        except _Refused as refusal:
            return Dead(str(refusal))
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            now = await asyncio.to_thread(_resumable, part)
            return Cut(f"{type(error).__name__}: {error}"[:300], max(0, now.have - begun.have))

    @asynccontextmanager
    async def _opened(self, url: str, headers: dict[str, str]) -> AsyncIterator[httpx.Response]:
        target = httpx.URL(url)
        for _ in range(MAX_REDIRECTS + 1):
            await self._check(target)
            request = self._http.build_request("GET", target, headers=headers)
            response = await self._http.send(request, stream=True)
            try:
                if not response.has_redirect_location:
                    yield response
                    return
                target = target.join(response.headers["location"])
            finally:
                await response.aclose()
        raise _Refused(f"it redirects more than {MAX_REDIRECTS} times")

    async def _check(self, target: httpx.URL) -> None:
        if target.scheme not in {"http", "https"} or not target.host:
            raise _Refused(f"it leads to {target.scheme or 'no'} address, which is not fetched")
        if self._allow_private or target.host == self._trusted:
            return
        if await asyncio.to_thread(leads_inside, str(target)):
            raise _Refused(f"it leads to the private address {target.host}")


async def _receive(response: httpx.Response, part: Path, begun: _Begun) -> Fetched:
    """What an answer brings, added to the part or in its place."""
    useless = _useless(response)
    if useless is not None:
        return useless
    start, total = _extent(response)
    if start < 0 or not begun.fits(response, start, total):
        await asyncio.to_thread(discard, part)
        return Cut("the server sent another range or video than was asked for; it is fetched anew")
    await asyncio.to_thread(_begin, part, start, _validator(response), total)
    fetched = await _take_down(response, part, start)
    if total is not None and start + fetched != total:
        return Cut(f"it ended after {start + fetched:,} of {total:,} bytes", fetched)
    if start + fetched == 0:
        return Cut("it is empty")
    return Whole(start + fetched, await asyncio.to_thread(sha256_of, part))


async def _take_down(response: httpx.Response, part: Path, start: int) -> int:
    """Write what comes from `start` on; returns how many bytes came."""
    written = start
    buffer = bytearray()
    try:
        async for piece in response.aiter_raw():
            buffer += piece
            if len(buffer) >= _WRITE_BYTES:
                await asyncio.to_thread(_write, part, written, bytes(buffer))
                written += len(buffer)
                buffer.clear()
    except (httpx.HTTPError, asyncio.CancelledError):
        # What came is kept, but a full disk must not hide that this was cut off or cancelled.
        with suppress(OSError):
            _write(part, written, bytes(buffer))
        raise
    await asyncio.to_thread(_write, part, written, bytes(buffer))
    return written + len(buffer) - start


def _useless(response: httpx.Response) -> Cut | Dead | None:
    """What an answer without a video means; None for one with it."""
    status = response.status_code
    if status in _DEAD:
        return Dead(f"HTTP {status}")
    if status == _OK and "text/html" in response.headers.get("content-type", ""):
        return Dead("a web page came instead of a video")
    return None if status in {_OK, _PARTIAL, _UNSATISFIABLE} else Cut(f"HTTP {status}")


def _extent(response: httpx.Response) -> tuple[int, int | None]:
    """(first byte, bytes of the whole video), as far as the answer tells."""
    length = response.headers.get("content-length", "")
    if response.status_code == _OK:
        return 0, int(length) if length.isdecimal() else None
    unit, _, rest = response.headers.get("content-range", "").partition(" ")
    first, _, last = rest.partition("/")[0].partition("-")
    whole = rest.partition("/")[2]
    if (
        response.status_code == _UNSATISFIABLE
        or unit != "bytes"
        or not first.isdecimal()
        or not last.isdecimal()
    ):
        return -1, None
    return int(first), int(whole) if whole.isdecimal() else int(last) + 1


def _validator(response: httpx.Response) -> str:
    """What tells whether the video is still the same; "" where nothing can."""
    etag: str = response.headers.get("etag", "")
    if etag and not etag.startswith("W/"):
        return etag
    return str(response.headers.get("last-modified", ""))


def _resumable(part: Path) -> _Begun:
    """What can be built on: nothing without a validator beside it.

    Of a part that is whole the last byte is asked for once more, to see that it is the same video.
    """
    try:
        validator, _, told = _mark(part).read_text(encoding="utf-8").partition("\n")
        have = part.stat().st_size
    except (FileNotFoundError, UnicodeDecodeError):
        return _Begun()
    total = int(told) if told.isdecimal() else None
    if total is not None and have >= total:
        have = total - 1 if have == total else 0
    return _Begun(have, validator, total) if validator and have > 0 else _Begun()


def _mark(part: Path) -> Path:
    """Holds the validator of what is in the part and, if known, the size of the whole."""
    return part.with_name(part.name + ".tag")


def _begin(part: Path, start: int, validator: str, total: int | None) -> None:
    part.parent.mkdir(parents=True, exist_ok=True)
    with part.open("ab") as file:
        file.truncate(start)
    if start == 0:
        told = "" if total is None else str(total)
        _mark(part).write_text(f"{validator}\n{told}", encoding="utf-8")


def _write(part: Path, at: int, data: bytes) -> None:
    """At its own place: a write that a cancelled fetch left running does no harm beside it."""
    with part.open("r+b") as file:
        file.seek(at)
        file.write(data)


def discard(part: Path) -> None:
    """The part's traces, once it has become a file."""
    part.unlink(missing_ok=True)
    _mark(part).unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_HASH_BYTES):
            digest.update(piece)
    return digest.hexdigest()
