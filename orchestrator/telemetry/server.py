"""Pages over HTTP for machines: small, one answer at a time for each page."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_log = logging.getLogger(__name__)
PATIENCE_SECONDS = 10.0
"""How long a client may take to ask."""
FRESH_SECONDS = 1.0
"""An answer this young is given again: two who ask at once make the work of one."""
TEXT = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Page:
    """An answer."""

    body: bytes
    content_type: str = TEXT
    status: HTTPStatus = HTTPStatus.OK


Make = Callable[[], Page]


class _Kept:
    """A page's last answer."""

    def __init__(self, make: Make) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._page: Page | None = None
        self._at = 0.0

    def get(self) -> Page:
        with self._lock:
            if self._page is None or time.monotonic() - self._at > FRESH_SECONDS:
                self._page = self._make()
                self._at = time.monotonic()
            return self._page


def make_server(host: str, port: int, pages: Mapping[str, Make]) -> ThreadingHTTPServer:
    """Bound, not yet serving; port 0 takes a free one. Raises OSError."""
    kept = {path: _Kept(make) for path, make in pages.items()}

    class Handler(BaseHTTPRequestHandler):
        """GET and HEAD of the known pages."""

        timeout = PATIENCE_SECONDS
        server_version = "orchestrator"
        sys_version = ""

        def do_GET(self) -> None:
            found = kept.get(self.path.partition("?")[0])
            page = _NOT_FOUND if found is None else found.get()
            self.send_response(page.status)
            self.send_header("Content-Type", page.content_type)
            self.send_header("Content-Length", str(len(page.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(page.body)

        do_HEAD = do_GET  # noqa: N815 the base class looks for this name

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: there is one every few seconds."""

    class Server(ThreadingHTTPServer):
        """Ends without waiting for whoever is still reading."""

        daemon_threads = True
        request_queue_size = 32

        def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002
            """A client that went away is no news; an error of ours is."""
            if not isinstance(sys.exc_info()[1], OSError):
                _log.exception("a page could not be made")

    return Server((host, port), Handler)


_NOT_FOUND = Page(b"/metrics, /healthz or /readyz\n", status=HTTPStatus.NOT_FOUND)
