"""How many messages wait at the broker."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_UNACKNOWLEDGED = "unacked"
"""Where kombu keeps what workers have taken and not acknowledged."""

Depths = Callable[[], "Waiting | None"]


@dataclass(frozen=True, slots=True)
class Waiting:
    """Queue -> messages that wait; how many are being worked on; bytes the server uses and may."""

    depths: Mapping[str, int]
    unacknowledged: int
    used: int
    limit: int


def depths(server: Any, queues: Sequence[str]) -> Waiting | None:
    """What a Redis client is told; None where the server cannot be asked."""
    import redis

    try:
        with server.pipeline(transaction=False) as pipe:
            for queue in queues:
                pipe.llen(queue)
            pipe.hlen(_UNACKNOWLEDGED)
            pipe.info("memory")
            *lengths, unacknowledged, memory = pipe.execute()
    except (redis.RedisError, OSError):
        return None
    return Waiting(
        dict(zip(queues, lengths, strict=True)),
        unacknowledged,
        int(memory.get("used_memory", 0)),
        int(memory.get("maxmemory", 0)),
    )
