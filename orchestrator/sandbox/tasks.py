"""Taking requests in: what is new, what is a replay, what is over a limit, which slot is free."""

from __future__ import annotations

import hashlib
import heapq
import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass

from orchestrator.sandbox.engine import Behaviour, Status, fate, status_at
from orchestrator.sandbox.schema import InvalidRequestError, price, read_task
from orchestrator.sandbox.store import Key, Store, Task, latest_ends


@dataclass(frozen=True, slots=True)
class Limits:
    """What the provider puts up with."""

    per_second: float | None = None
    in_flight: int | None = None
    scope_by_key: bool = False
    """Whether an idempotency key belongs to its API key rather than to the account."""


class _Bucket:
    """What is left of a rate; it fills up again within a second."""

    def __init__(self) -> None:
        self._tokens: float | None = None
        self._refilled = 0.0

    def take(self, rate: float | None, now: float) -> None:
        """Raises InvalidRequestError beyond the rate; None is no rate."""
        if rate is None:
            return
        full = max(1.0, rate)
        before = full if self._tokens is None else self._tokens
        self._tokens = min(full, before + (now - self._refilled) * rate)
        self._refilled = now
        if self._tokens < 1:
            raise InvalidRequestError(429, "rate_limited", f"more than {rate:g} submits a second")
        self._tokens -= 1


class _Ends:
    """When the tasks that are under way will end."""

    def __init__(self, tasks: Iterable[Task] = ()) -> None:
        self._ends = [task.ends_at for task in tasks]
        heapq.heapify(self._ends)

    def admit(self, most: int | None, now: float) -> None:
        """Raises InvalidRequestError where so many are unfinished already; None is no limit."""
        while self._ends and self._ends[0] <= now:
            heapq.heappop(self._ends)
        if most is not None and len(self._ends) >= most:
            raise InvalidRequestError(429, "too_many_tasks", f"more than {most} tasks in flight")

    def add(self, task: Task) -> None:
        heapq.heappush(self._ends, task.ends_at)


@dataclass(frozen=True, slots=True)
class _OfKey:
    """What one API key has used up."""

    bucket: _Bucket
    ends: _Ends


def _by_key(tasks: Iterable[Task]) -> dict[str, list[Task]]:
    found: dict[str, list[Task]] = {}
    for task in tasks:
        found.setdefault(task.key_id, []).append(task)
    return found


class Tasks:
    """All tasks, in memory and in the store."""

    def __init__(self, store: Store, behaviour: Behaviour, limits: Limits) -> None:
        self._store = store
        self._behaviour = behaviour
        self._limits = limits
        store.load(limits.scope_by_key)
        self._slots = latest_ends(store.tasks.values(), behaviour.slots or 0)
        heapq.heapify(self._slots)
        self._ends = _Ends(store.tasks.values())
        self._bucket = _Bucket()
        self._of_key = {
            key_id: _OfKey(_Bucket(), _Ends(tasks))
            for key_id, tasks in _by_key(store.tasks.values()).items()
        }

    def find(self, task_id: str, key: Key | None = None) -> Task | None:
        """The task, if it is there for this key; None asks for every key."""
        task = self._store.tasks.get(task_id)
        hidden = task and key and self._limits.scope_by_key and task.key_id != key.id
        return None if hidden else task

    def status(self, task: Task, now: float) -> Status:
        return status_at(now, task.starts_at, task.ends_at, task.end)

    def submit(
        self, body: bytes, key: Key, idempotency_key: str | None, now: float
    ) -> tuple[Task, bool]:
        """The task for a request, and whether it is new. Raises InvalidRequestError."""
        own = self._of_key.setdefault(key.id, _OfKey(_Bucket(), _Ends()))
        self._bucket.take(self._limits.per_second, now)
        own.bucket.take(key.per_second, now)
        payload = _payload(body)
        known = self._known(key.id, idempotency_key)
        if known is not None:
            if known.payload != payload:
                raise InvalidRequestError(
                    409, "idempotency_conflict", "this key was used with different input"
                )
            return known, False
        full = read_task(body)
        self._ends.admit(self._limits.in_flight, now)
        own.ends.admit(key.in_flight, now)
        task = self._make(full, payload, key.id, idempotency_key, now)
        self._store.add(task, scope_by_key=self._limits.scope_by_key)
        self._ends.add(task)
        own.ends.add(task)
        return task, True

    def _known(self, key_id: str, idempotency_key: str | None) -> Task | None:
        if idempotency_key is None:
            return None
        scope = key_id if self._limits.scope_by_key else ""
        return self._store.by_key.get((scope, idempotency_key))

    def _make(
        self,
        full: dict[str, object],
        payload: str,
        key_id: str,
        idempotency_key: str | None,
        now: float,
    ) -> Task:
        number = len(self._store.tasks) + 1
        planned = fate(self._behaviour, idempotency_key or str(number))
        starts_at = now + planned.queue
        if self._behaviour.slots is not None:
            if len(self._slots) >= self._behaviour.slots:
                starts_at = max(starts_at, heapq.heappop(self._slots))
            heapq.heappush(self._slots, starts_at + planned.run)
        cost = f"{price(full):f}"
        free = planned.end is not Status.SUCCEEDED and not self._behaviour.charge_failures
        return Task(
            number=number,
            task_id=f"task_{secrets.token_hex(10)}",
            request_id=f"req_{secrets.token_hex(10)}",
            key_id=key_id,
            idempotency_key=idempotency_key,
            payload=payload,
            prompt=str(full["prompt"]),
            size=str(full["size"]),
            duration=int(str(full["duration"])),
            audio=full["audio"] is True,
            estimate=cost,
            actual="0" if free else cost,
            created_at=now,
            starts_at=starts_at,
            ends_at=starts_at + planned.run,
            end=planned.end,
        )


def _payload(body: bytes) -> str:
    """The same payload is the same JSON, however it is spaced or ordered."""
    try:
        canonical = json.dumps(json.loads(body), sort_keys=True).encode()
    except ValueError:
        canonical = body
    return hashlib.sha256(canonical).hexdigest()
