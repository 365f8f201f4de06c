"""What a Redis or Valkey server says of itself."""

from __future__ import annotations

from typing import Any

import redis

from orchestrator.domain.broker_server import BrokerServer
from orchestrator.errors import ServiceError

TIMEOUT_SECONDS = 5.0
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def about(url: str) -> BrokerServer:
    """Ask the server at `url` (in the Redis client's spelling). Raises ServiceError."""
    try:
        with redis.Redis.from_url(
            url, socket_connect_timeout=TIMEOUT_SECONDS, socket_timeout=TIMEOUT_SECONDS
        ) as server:
            return _about(server)
    except (redis.RedisError, ValueError, OSError) as error:
        raise ServiceError(
            f"the broker cannot be reached: {error}",
            mend="Check ORCHESTRATOR_BROKER_URL; without it an embedded broker is used.",
            code="broker",
        ) from None


def _about(server: redis.Redis) -> BrokerServer:
    said: dict[str, Any] = server.info()
    where = server.connection_pool.connection_kwargs
    return BrokerServer(
        name="Valkey" if "valkey_version" in said else "Redis",
        version=str(said.get("redis_version", "")),
        policy=said.get("maxmemory_policy"),
        max_bytes=int(said.get("maxmemory", 0)),
        used_bytes=int(said.get("used_memory", 0)),
        appends=bool(said.get("aof_enabled")),
        snapshots=_snapshots(server),
        password=bool(where.get("password")),
        local="path" in where or where.get("host") in _LOOPBACK,
        encrypted=issubclass(server.connection_pool.connection_class, redis.SSLConnection),
    )


def _snapshots(server: redis.Redis) -> bool | None:
    """Whether it saves by itself; None where a hosted server hides its configuration."""
    try:
        told = server.config_get("save")
    except redis.ResponseError:
        return None
    return bool(told.get("save"))
