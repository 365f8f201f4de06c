"""Metrics as plain values, before anybody writes them down."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

PREFIX = "orchestrator_"


class Kind(StrEnum):
    """What a metric's value means to whoever adds it up."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Buckets:
    """A histogram's value: (upper end, how many up to it), rising, the last end infinite."""

    upto: Sequence[tuple[float, int]]
    total: float


@dataclass(slots=True)
class Family:
    """One metric with its samples; `name` without the prefix, and without a counter's `_total`."""

    name: str
    help: str
    labels: Sequence[str] = ()
    kind: Kind = Kind.GAUGE
    samples: list[tuple[Sequence[str], float | Buckets]] = field(default_factory=list)

    def add(self, value: float | Buckets, *labels: str) -> None:
        self.samples.append((labels, value))


class Families:
    """Collects families in the order they are first named."""

    def __init__(self) -> None:
        self._made: dict[str, Family] = {}

    def of(self, name: str, help_: str, *labels: str, kind: Kind = Kind.GAUGE) -> Family:
        """The family of that name, made when it is first asked for."""
        if name not in self._made:
            self._made[name] = Family(name, help_, labels, kind)
        return self._made[name]

    def __iter__(self) -> Iterator[Family]:
        return iter(self._made.values())
