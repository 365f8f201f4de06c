"""Whatever the broker carries is carried again: copies of messages while processes run."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Any

import redis

from orchestrator.places import runtime_dir

QUEUES = ("submit", "poll", "ticks")
_CHUNKS = ("workers.submit_chunk", "workers.poll_chunk")


@dataclass
class Repeater:
    """Keeps every message it sees, of those on their way and those being worked on."""

    server: redis.Redis
    seen: dict[str, dict[str, Any]] = field(default_factory=dict)

    def look(self) -> list[dict[str, Any]]:
        """The messages that are new since the last look."""
        messages = self._messages()
        new = {str(one["headers"]["id"]): one for one in messages}
        fresh = {key: one for key, one in new.items() if key not in self.seen}
        self.seen |= fresh
        return list(fresh.values())

    def send(self, message: dict[str, Any]) -> None:
        """The message once more, as a broker would deliver it that lost its acknowledgement."""
        again = json.loads(json.dumps(message))
        again["properties"]["delivery_tag"] = str(uuid.uuid4())
        again["headers"]["expires"] = None
        queue = again["properties"]["delivery_info"]["routing_key"]
        self.server.lpush(queue, json.dumps(again))

    def of(self, task: str) -> list[dict[str, Any]]:
        """What was seen of one task, oldest first."""
        return [one for one in self.seen.values() if one["headers"]["task"] == task]

    @property
    def idle(self) -> bool:
        """Nothing but ticks waits or is being worked on."""
        return all(one["headers"]["task"] not in _CHUNKS for one in self._messages())

    def _messages(self) -> list[dict[str, Any]]:
        raw = [text for queue in QUEUES for text in self.server.lrange(queue, 0, -1)]
        # What was fetched stays here until it is acknowledged, which comes after the work.
        fetched = [json.loads(text)[0] for text in self.server.hvals("unacked")]
        return [*map(json.loads, raw), *fetched]


def rows_of(message: dict[str, Any]) -> list[int]:
    """The items of a submit message."""
    (_, items, *_), _, _ = json.loads(base64.b64decode(str(message["body"])))
    found: list[int] = items
    return found


@contextmanager
def broker_of(folder: Path) -> Iterator[redis.Redis]:
    """The embedded broker of the installation whose data is in `folder`."""
    installation = (folder / "data" / "installation").read_text().strip()
    socket = runtime_dir(installation) / "broker.sock"
    with redis.Redis(unix_socket_path=str(socket)) as server:
        yield server


@contextmanager
def everything_thrice(repeater: Repeater) -> Iterator[None]:
    """While the block runs each message that is seen is sent twice more."""
    over = Event()

    def repeat() -> None:
        while not over.is_set():
            for message in repeater.look():
                repeater.send(message)
                repeater.send(message)
            over.wait(0.005)

    thread = Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
