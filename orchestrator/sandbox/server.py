"""Serving the sandbox: uvicorn, with a way to close a connection without an answer."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from pathlib import Path
from typing import Any, cast

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from orchestrator.sandbox.app import DROP, Sandbox, make_app

_transports: dict[tuple[str, int], asyncio.Transport] = {}


class Protocol(H11Protocol):
    """Remembers each connection's transport by its peer, so that a fault can close it."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._peer = transport.get_extra_info("peername")[:2]
        _transports[self._peer] = transport

    def connection_lost(self, exc: Exception | None) -> None:
        _transports.pop(self._peer, None)
        super().connection_lost(exc)


class Dropping:
    """Turns an answer with the status DROP into a closed connection."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        dropped = False

        async def watch(message: Message) -> None:
            nonlocal dropped
            if message["type"] == "http.response.start" and message["status"] == DROP:
                dropped = True
                _transports[tuple(scope["client"])].abort()
                # The protocol hears of it on the loop's next round and then expects no answer.
                await asyncio.sleep(0.01)
            if not dropped:
                await send(message)

        await self._app(scope, receive, watch)


class Server(uvicorn.Server):
    """Says where it listens once it does."""

    def __init__(self, config: uvicorn.Config, announce: list[Any]) -> None:
        super().__init__(config)
        self._announce = announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for call in self._announce:
            call()


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises OSError where the address is taken or not ours."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    server = socket.socket(family)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind((host, port))
    return server


def serve(
    sandbox: Sandbox, server: socket.socket, ready_file: Path | None, greeting: str, *, host: str
) -> None:
    """Serve until SIGTERM or Ctrl-C; `host` is the name that the addresses of videos have."""
    port = server.getsockname()[1]
    sandbox.root = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    base_url = f"{sandbox.root}/api/v1"

    def announce() -> None:
        print(greeting.format(base_url=base_url), flush=True)
        if ready_file is not None:
            draft = ready_file.with_suffix(".draft")
            draft.write_text(json.dumps({"base_url": base_url, "pid": os.getpid()}))
            draft.replace(ready_file)

    config = uvicorn.Config(
        cast("Any", Dropping(make_app(sandbox))),
        http=Protocol,
        log_level="warning",
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=2,
    )
    try:
        Server(config, [announce]).run([server])
    except KeyboardInterrupt:
        pass
    finally:
        sandbox.store.close()
