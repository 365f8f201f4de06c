"""The MindVideo client: one method per documented call, each answering with one outcome.

Never retries, never follows a redirect, never raises for what the provider or the network does
(except `reach`, whose answer is the error).
"""

from __future__ import annotations

import asyncio
import copy
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import cast
from urllib.parse import quote

import httpx

from orchestrator.domain.outcome import (
    Detail,
    GateReason,
    Lost,
    NotFound,
    PollOutcome,
    SubmitOutcome,
)
from orchestrator.errors import ConfigError, ServiceError
from orchestrator.provider import classify
from orchestrator.provider.classify import Answer
from orchestrator.provider.transport import open_transport
from orchestrator.provider.wire import MAX_ID, clean

MAX_BODY = 2 * 1024 * 1024
"""Bytes of an answer that are read; a longer one is unreadable."""
MAX_EVENTS = 64 * 1024
_PIECE = 64 * 1024
_UNMISTAKABLE = 16
"""Characters of a key that no identifier or address contains by chance."""
_FAILURES = tuple(classify.FAILURES)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds. `connect`: until a connection stands; `total`: the whole exchange.

    `total` holds however slowly the server drips, so that a lease can be chosen to outlast it.
    Half of it at most goes into getting a connection: a request that is cut off before that has
    certainly not been sent.
    """

    connect: float = 10
    total: float = 60


class ProviderClient:
    """Safe for many tasks of one event loop. Close it in the loop that used it.

    `base_url` ends in the API's version (`https://api.mindvideo.ai/api/v1`); `clock` gives seconds
    since the epoch. Raises ConfigError for a base URL, proxy or certificate file it cannot use.
    """

    def __init__(
        self,
        *,
        base_url: str,
        api_key: str,
        timeouts: Timeouts,
        max_connections: int = 200,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._base = _parse(base_url)
        self._key = api_key
        self._timeouts = timeouts
        self._clock = clock
        # The transport alone: of what httpx's client adds (cookies, redirects, its own checks)
        # nothing is wanted here, and it takes longer than all the rest of an exchange.
        self._transport = transport or open_transport(self._base, max_connections)
        self._prefix = self._base.raw_path.decode().rstrip("/")
        self._submit_url = self._url("/tasks")
        self._extensions = {"timeout": _per_step(timeouts).as_dict()}
        self._headers = [
            (b"Host", self._base.netloc),
            (b"Accept", b"application/json"),
            (b"Accept-Encoding", b"identity"),
            (b"User-Agent", b"video-batch-orchestrator"),
        ]

    def with_key(self, api_key: str) -> ProviderClient:
        """The same client, its connections included, for another account."""
        other = copy.copy(self)
        other._key = api_key  # noqa: SLF001 of this very class
        return other

    @property
    def _secret(self) -> tuple[bytes, bytes]:
        return b"Authorization", b"Bearer " + self._key.encode()

    def __repr__(self) -> str:
        return f"ProviderClient({str(self._base)!r})"

    async def submit(self, body: bytes, idempotency_key: str) -> SubmitOutcome:
        """POST /tasks, once."""
        headers = [
            *self._headers,
            self._secret,
            (b"Content-Type", b"application/json"),
            (b"Content-Length", b"%d" % len(body)),
            (b"Idempotency-Key", idempotency_key.encode()),
        ]
        request = self._request("POST", self._submit_url, headers, body)
        try:
            answer = await self._exchange(request)
        except _FAILURES as error:
            return classify.of_submit_failure(error)
        return classify.of_submit(answer)

    async def task(self, task_id: str) -> PollOutcome:
        """GET /tasks/{task_id}."""
        path = _path_of(task_id)
        if path is None:
            return NotFound(Detail(message="this is no task id"))
        try:
            answer = await self._exchange(self._ask(path))
        except _FAILURES as error:
            return classify.of_poll_failure(error)
        return classify.of_poll(answer, task_id)

    async def probe(self) -> PollOutcome:
        """Ask for a task that nobody has: any answer but a refusal shows that the key is taken."""
        return await self.task("gate-probe")

    async def events(self, task_id: str) -> str | None:
        """GET /tasks/{task_id}/events as raw JSON text.

        None when there is no readable answer, or one of more than 64 KB.
        """
        path = _path_of(task_id)
        if path is None:
            return None
        try:
            answer = await self._exchange(self._ask(f"{path}/events"))
        except _FAILURES:
            return None
        if not 200 <= answer.status < 300 or answer.broken or len(answer.body) > MAX_EVENTS:
            return None
        return _json_text(answer.body)

    async def reach(self) -> None:
        """See whether anything answers HTTP at the base URL; the key is not sent.

        Raises ServiceError `unreachable`.
        """
        request = self._request("GET", self._base, self._headers)
        try:
            await self._exchange(request)
        except _FAILURES as error:
            reason = clean(str(error), 300) or f"no answer in {self._timeouts.total:g} seconds"
            raise ServiceError(
                f"nothing answers at {self._base.netloc.decode()} (MINDVIDEO_BASE_URL): {reason}",
                mend="Check MINDVIDEO_BASE_URL, the network, and HTTPS_PROXY where you use one.",
                code=GateReason.UNREACHABLE.value,
            ) from None

    async def aclose(self) -> None:
        """Close every connection."""
        await self._transport.aclose()

    def _url(self, path: str) -> httpx.URL:
        return self._base.copy_with(raw_path=(self._prefix + path).encode())

    def _ask(self, path: str) -> httpx.Request:
        return self._request("GET", self._url(path), [*self._headers, self._secret])

    def _request(
        self,
        method: str,
        url: httpx.URL,
        headers: list[tuple[bytes, bytes]],
        body: bytes = b"",
    ) -> httpx.Request:
        # As a stream: of a content httpx would make headers, which are here already.
        stream = httpx.ByteStream(body) if len(body) <= _PIECE else _Pieces(body)
        return httpx.Request(
            method, url, headers=headers, stream=stream, extensions=self._extensions
        )

    def _blotted(self, status: int, body: bytes) -> bytes:
        """Without the key, which a server may quote; a short one can be part of a task's id."""
        if not self._key or (200 <= status < 300 and len(self._key) < _UNMISTAKABLE):
            return body
        return body.replace(self._key.encode(), b"***")

    async def _exchange(self, request: httpx.Request) -> Answer:
        """Send once and read the answer, all within the total timeout.

        A status that was read stands even if the body after it did not come whole. Raises the
        keys of `classify.FAILURES` when not even a status came.
        """
        status: httpx.Response | None = None
        headers: dict[str, str] = {}
        body = bytearray()
        broken: Lost | None = None
        try:
            async with asyncio.timeout(self._timeouts.total):
                status = await self._transport.handle_async_request(request)
                headers = _texts(status.headers)
                broken = await _read(status, "content-encoding" in headers, body)
        except _FAILURES as error:
            if status is None:
                raise
            failure = classify.failure(error)
            broken = failure if isinstance(failure, Lost) else Lost.CONNECTION
        return Answer(
            status=status.status_code,
            headers=headers,
            body=self._blotted(status.status_code, bytes(body)),
            broken=broken,
            now=self._clock(),
        )


def _parse(base_url: str) -> httpx.URL:
    try:
        url = httpx.URL(base_url.rstrip("/"))
        url.host.encode("idna")
    except (httpx.InvalidURL, UnicodeError) as error:
        url, reason = httpx.URL(), str(error)
    else:
        reason = "it names no http(s) host"
    if url.scheme not in {"http", "https"} or not url.host:
        raise ConfigError(
            f"MINDVIDEO_BASE_URL is not usable: {reason}",
            mend="Write it like https://api.mindvideo.ai/api/v1.",
        )
    return url


def _per_step(timeouts: Timeouts) -> httpx.Timeout:
    """None for reading and writing, which are within the whole exchange's time."""
    waiting = timeouts.total / 2
    return httpx.Timeout(None, connect=min(timeouts.connect, waiting), pool=waiting)


def _path_of(task_id: str) -> str | None:
    """The task's path with the id quoted whole; None for an id that would climb or is none."""
    if not task_id.strip(". ") or len(task_id) > MAX_ID:
        return None
    try:
        return f"/tasks/{quote(task_id, safe='')}"
    except UnicodeEncodeError:
        return None


def _texts(headers: httpx.Headers) -> dict[str, str]:
    """Header names in lower case, the first of each name."""
    texts: dict[str, str] = {}
    for name, value in headers.raw:
        texts.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))
    return texts


class _Pieces(httpx.AsyncByteStream):
    """A large body: aiohttp writes a single piece without a breath."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._body), _PIECE):
            yield self._body[start : start + _PIECE]


async def _read(response: httpx.Response, encoded: bool, body: bytearray) -> Lost | None:
    """Fill `body` up to MAX_BODY and let the connection go; the answer says whether it is whole."""
    # What is not encoded needs none of the response's own care.
    stream = cast("httpx.AsyncByteStream", response.stream)
    try:
        async for chunk in response.aiter_bytes() if encoded else stream:
            body += chunk
            if len(body) > MAX_BODY:
                del body[MAX_BODY:]
                return Lost.UNREADABLE
    finally:
        await stream.aclose()
    return None


def _json_text(body: bytes) -> str | None:
    try:
        text = body.decode("utf-8-sig").replace("\0", "")
        json.loads(text)
    except (ValueError, RecursionError):
        return None
    return text
