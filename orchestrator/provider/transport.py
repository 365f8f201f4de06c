"""httpx over aiohttp's connections, with two things put right.

1. Failures are told truthfully. The library maps a connection that a server dropped, even after the
   request was sent, to `httpx.ConnectTimeout`: read as "nothing was sent", it would be a second
   purchase. Here aiohttp's own exception decides.
2. The proxy is chosen once, for the one host this program talks to. aiohttp's `trust_env` would
   also read ~/.netrc and refuse a request that carries an Authorization header.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncIterator
from functools import lru_cache
from typing import cast
from urllib.parse import unquote
from urllib.request import getproxies, proxy_bypass

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from orchestrator.errors import ConfigError

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})

TRUTH: tuple[tuple[type[Exception], type[httpx.TransportError]], ...] = (
    # Raised only while a connection is being made: no byte of the request has left.
    (aiohttp.ClientProxyConnectionError, httpx.ProxyError),
    (aiohttp.ClientHttpProxyError, httpx.ProxyError),
    (aiohttp.ClientConnectorError, httpx.ConnectError),
    (aiohttp.ConnectionTimeoutError, httpx.ConnectTimeout),
    (aiohttp.ServerFingerprintMismatch, httpx.ConnectError),
    (aiohttp.InvalidURL, httpx.UnsupportedProtocol),
    (aiohttp.NonHttpUrlClientError, httpx.UnsupportedProtocol),
    # Anything below may come after bytes have left.
    (aiohttp.ServerTimeoutError, httpx.ReadTimeout),
    (aiohttp.ServerDisconnectedError, httpx.ReadError),
    (aiohttp.ClientConnectionError, httpx.ReadError),
    (aiohttp.ClientPayloadError, httpx.ReadError),
    (aiohttp.ClientError, httpx.RemoteProtocolError),
    (TimeoutError, httpx.ReadTimeout),
    (OSError, httpx.ReadError),
)
"""The first class that fits names the failure."""


def told_truthfully(error: Exception) -> httpx.TransportError | None:
    """The failure behind `error` (the library's or aiohttp's); None for one that is neither."""
    cause = error.__cause__ if isinstance(error, httpx.TransportError) else error
    for foreign, ours in TRUTH:
        if isinstance(cause, foreign):
            return ours(str(cause) or type(cause).__name__)
    return error if isinstance(error, httpx.TransportError) else None


class _Stream(httpx.AsyncByteStream):
    """An answer's body; its failures are told truthfully as well."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        content = self._response.content
        try:
            while not content.at_eof():
                yield await content.readany()
        except (aiohttp.ClientError, OSError) as error:
            raise (told_truthfully(error) or error) from error

    async def aclose(self) -> None:
        self._response.release()


def _content(request: httpx.Request) -> bytes | AsyncIterator[bytes] | None:
    """A body that is at hand whole, else one that comes in pieces."""
    if isinstance(request.stream, httpx.ByteStream):
        return next(iter(request.stream)) or None
    return aiter(cast("httpx.AsyncByteStream", request.stream))


@lru_cache(maxsize=4)
def _timeout(**seconds: float | None) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(
        sock_connect=seconds["connect"], sock_read=seconds["read"], connect=seconds["pool"]
    )


class TruthfulTransport(AiohttpTransport):
    """Pooled connections to one host; created in the event loop that first uses it.

    Sends as the library does, without what only other callers need: it is passed by every row.
    """

    def get_client(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            ssl=self.ssl_context, limit=self.limits.max_connections or 0
        )
        return aiohttp.ClientSession(
            connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if not isinstance(self.client, aiohttp.ClientSession):
            self.client = self.get_client()
        proxy = self.proxy
        try:
            response = await self.client.request(
                request.method,
                str(request.url),
                headers=[(name.decode(), value.decode()) for name, value in request.headers.raw],
                data=_content(request),
                allow_redirects=False,
                timeout=_timeout(**request.extensions["timeout"]),
                proxy=None if proxy is None else str(proxy.url),
                proxy_headers=None if proxy is None else proxy.headers,
            )
        except (aiohttp.ClientError, OSError) as error:
            raise (told_truthfully(error) or error) from error
        return httpx.Response(
            response.status,
            headers=response.raw_headers,
            stream=_Stream(response),
            request=request,
        )


def open_transport(base_url: httpx.URL, max_connections: int) -> TruthfulTransport:
    """A transport as the environment wants it: HTTPS_PROXY, NO_PROXY, SSL_CERT_FILE, SSL_CERT_DIR.

    Raises ConfigError where one of them cannot be followed.
    """
    proxy = proxy_for(base_url)
    schemes = {base_url.scheme} if proxy is None else {base_url.scheme, proxy.url.scheme}
    try:
        return TruthfulTransport(
            # Reading all certificates takes longer than the rest: not where none is looked at.
            verify="https" in schemes,
            limits=httpx.Limits(max_connections=max_connections),
            proxy=proxy,
            client=None,
        )
    except OSError as error:
        raise ConfigError(
            f"the certificates of SSL_CERT_FILE or SSL_CERT_DIR cannot be read: {error}",
            mend="Point SSL_CERT_FILE at a readable PEM file, or unset it.",
        ) from None


def proxy_for(base_url: httpx.URL) -> httpx.Proxy | None:
    """The proxy the environment names for this host; never one for this machine itself.

    Raises ConfigError for a proxy that is not http(s).
    """
    if base_url.host in _LOOPBACK or proxy_bypass(base_url.host):
        return None
    proxies = getproxies()
    address = proxies.get(base_url.scheme) or proxies.get("all")
    if not address:
        return None
    try:
        url = httpx.URL(address if "://" in address else f"http://{address}")
    except httpx.InvalidURL:
        url = httpx.URL()
    if url.scheme not in {"http", "https"} or not url.host:
        name = f"{base_url.scheme.upper()}_PROXY"
        raise ConfigError(
            f"{name} (or ALL_PROXY) names no http proxy",
            mend=f"Write {name} like http://proxy.example:3128, or list the host in NO_PROXY.",
        )
    return httpx.Proxy(url.copy_with(userinfo=b""), headers=_proxy_credentials(url))


def _proxy_credentials(url: httpx.URL) -> dict[str, str]:
    """As a header: aiohttp moves it to Proxy-Authorization of the tunnel or of the request."""
    if not url.userinfo:
        return {}
    pair = f"{unquote(url.username)}:{unquote(url.password)}"
    return {"Authorization": f"Basic {b64encode(pair.encode()).decode()}"}
