"""Where finished videos lie: an HTTP server with ranges, and the ways in which one lets down.

`?expires=` in a URL is obeyed, in seconds since the epoch.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs


@dataclass
class Cdn:
    """`root` is its address; a path's content follows from its name."""

    root: str
    size: int = 50_000
    dead: set[str] = field(default_factory=set)
    """Paths that answer 410."""
    cut: Counter[str] = field(default_factory=Counter)
    """How often a path still breaks off in its middle."""
    failing: Counter[str] = field(default_factory=Counter)
    """How often a path still answers 500."""
    sent: Counter[str] = field(default_factory=Counter)
    """Bytes of bodies sent, by path."""
    order: list[str] = field(default_factory=list)
    """Paths in the order in which they were first asked for."""

    def content(self, path: str) -> bytes:
        block = hashlib.sha256(path.encode()).digest()
        return (block * (self.size // len(block) + 1))[: self.size]


class _Handler(BaseHTTPRequestHandler):
    cdn: Cdn

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        expires = parse_qs(query).get("expires", ["inf"])[0]
        if path not in self.cdn.order:
            self.cdn.order.append(path)
        if path in self.cdn.dead or float(expires) < time.time():
            self.send_error(410)
            return
        if self.cdn.failing[path] > 0:
            self.cdn.failing[path] -= 1
            self.send_error(500)
            return
        content = self.cdn.content(path)
        first = int(self.headers.get("range", "bytes=0-")[6:-1])
        body = content[first:]
        self.send_response(206 if first else 200)
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("Content-Length", str(len(body)))
        if first:
            extent = f"bytes {first}-{len(content) - 1}/{len(content)}"
            self.send_header("Content-Range", extent)
        self.end_headers()
        if self.cdn.cut[path] > 0:
            self.cdn.cut[path] -= 1
            body = body[: len(body) // 2]
        self.wfile.write(body)
        self.cdn.sent[path] += len(body)

    def log_message(self, *_: object) -> None:
        """Nothing on stderr."""


@contextmanager
def cdn() -> Iterator[Cdn]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    made = Cdn(f"http://127.0.0.1:{server.server_port}")
    handler = type("Handler", (_Handler,), {"cdn": made})
    server.RequestHandlerClass = handler
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
