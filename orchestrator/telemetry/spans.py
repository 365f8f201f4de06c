"""Spans as plain values. Which trace each belongs to follows from what it is about.

Days may lie between a purchase's submit and its result, and any process may do either: the ids of
its trace are digests of its idempotency key, so nobody has to pass them on. The key itself cannot
be found from them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

Value = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Place:
    """Where a span stands: the ids of its trace and its own."""

    trace: int
    span: int


@dataclass(frozen=True, slots=True)
class Span:
    """Something that took from `began` to `ended`, in seconds since 1970; no parent: a root."""

    name: str
    place: Place
    parent: Place | None
    began: float
    ended: float
    about: Mapping[str, Value] = field(default_factory=dict)
    asks: bool = False
    """It waited for another's answer."""
    failed: bool = False
    links: Sequence[Place] = ()


class Emit(Protocol):
    """Takes spans, at once and without failing."""

    def __call__(self, spans: Sequence[Span]) -> None: ...

    def close(self) -> None:
        """Let go what is still held."""


def of_purchase(idempotency_key: str, part: str = "") -> Place:
    """A part of a purchase's trace; its root without one."""
    return _place("purchase", idempotency_key, part)


def of_batch(*identity: str) -> Place:
    """A batch's own trace, by what its name is made of: its purchases' traces link to it."""
    return _place("batch", "\0".join(identity), "")


def _place(kind: str, what: str, part: str) -> Place:
    trace = hashlib.sha256(f"{kind}\0{what}".encode()).digest()
    span = hashlib.sha256(f"{kind}\0{what}\0{part}".encode()).digest()
    return Place(int.from_bytes(trace[:16]) or 1, int.from_bytes(span[16:24]) or 1)
