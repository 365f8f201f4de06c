"""A nudge: rows were recorded, so dispatch looks at once instead of at its next tick.

A hint and no more. Nobody has to hear it, nothing waits for it, and whoever cannot send or hear it
goes on as if there were none.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

from orchestrator.errors import ConfigError
from orchestrator.settings import Settings

CHANNEL = "orchestrator:nudge"
_PATIENCE_SECONDS = 1.0


def give(settings: Settings) -> None:
    """Tell the beats that listen; a broker that does not answer is given up after a second."""
    if settings.embedded_broker and not settings.broker_socket.exists():
        return
    server = _server(settings)
    if server is None:
        return
    import redis

    with suppress(redis.RedisError, OSError), server:
        server.publish(CHANNEL, b"")


class Listener:
    """Hears nudges from the moment of its first wait."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._heard: Any = None

    def wait(self, seconds: float) -> bool:
        """Sleep so long, or until a nudge; whether there was one. Several at once are one."""
        import redis

        end = time.monotonic() + seconds
        try:
            if self._heard is None:
                self._subscribe()
            while self._heard is not None:
                left = end - time.monotonic()
                said = self._heard.get_message(timeout=max(0.0, left))
                if said is not None and said["type"] == "message":
                    self._drain()
                    return True
                if left <= 0:
                    return False
        except (redis.RedisError, OSError):
            self.close()
        time.sleep(max(0.0, end - time.monotonic()))
        return False

    def close(self) -> None:
        if self._heard is not None:
            self._heard.close()
            self._heard = None

    def _subscribe(self) -> None:
        server = _server(self._settings)
        if server is not None:
            self._heard = server.pubsub()
            self._heard.subscribe(CHANNEL)

    def _drain(self) -> None:
        while self._heard.get_message(timeout=0.0) is not None:
            pass


def _server(settings: Settings) -> Any:
    """A client that gives up soon; None where the broker is none that can be told."""
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    try:
        url = settings.redis_url
    except ConfigError:
        return None
    return redis.Redis.from_url(
        url,
        socket_connect_timeout=_PATIENCE_SECONDS,
        socket_timeout=_PATIENCE_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )
