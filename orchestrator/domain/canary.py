"""Whether the first rows of a batch went well enough for the others. Money in nano-dollars."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from enum import StrEnum

from orchestrator.domain.durations import to_ms
from orchestrator.domain.states import TERMINAL, State

WHOLE = 1000
"""Shares are counted in thousandths, so that no binary fraction decides about money."""
MAX_ROWS = 10_000_000
MAX_WEIGHT = 100
_SHARE = re.compile(r"(\d{1,6}(?:\.\d{1,6})?)\s*(%?)", re.ASCII)
HOUR = 3_600_000
MAX_PATIENCE = 365 * 24 * HOUR


class Phase(StrEnum):
    """How far a batch with a canary is; stored."""

    TRYING = "trying"
    PASSED = "passed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Canary:
    """`rows` go first; the others follow if no more than `failures` thousandths of them fail and
    they cost no more than `cost` thousandths of their estimates together.

    A row that has not ended `patience` milliseconds after it was first sent counts as failed.
    """

    rows: int
    failures: int = 200
    cost: int = 1200
    patience: int = HOUR

    def to_json(self) -> str:
        return json.dumps(asdict(self))


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast and how far a batch may go, as far as somebody said; a limit of 0 lifts it."""

    limit: int | None = None
    canary: Canary | None = None
    weight: int | None = None

    def over(self, other: Pace) -> Pace:
        """This, and what only the other says."""
        return Pace(
            other.limit if self.limit is None else self.limit,
            self.canary or other.canary,
            other.weight if self.weight is None else self.weight,
        )


UNTOLD = Pace()
"""Nobody said anything."""


def share(text: str) -> int:
    """`20%` or `0.2` as thousandths. Raises ValueError with a sentence."""
    found = _thousandths(text)
    if found > WHOLE:
        raise ValueError("a share is at most 100%")
    return found


def ratio(text: str) -> int:
    """`1.2` or `120%` as thousandths. Raises ValueError with a sentence."""
    found = _thousandths(text)
    if found == 0:
        raise ValueError("a ratio of nothing lets no row pass")
    return found


def patience(text: str) -> int:
    """`1h` in milliseconds. Raises ValueError with a sentence."""
    found = to_ms(text)
    if not 0 < found <= MAX_PATIENCE:
        raise ValueError("it must be more than nothing, and at most 365d")
    return found


def _thousandths(text: str) -> int:
    match = _SHARE.fullmatch(text.strip())
    if match is None:
        raise ValueError("a share is a number such as 0.2 or 20%, a ratio one such as 1.2")
    return round(Decimal(match[1]) * (10 if match[2] else WHOLE))


def from_json(text: str) -> Canary:
    return Canary(**json.loads(text))


@dataclass(frozen=True, slots=True)
class Row:
    """One of the first rows; its costs are sums over its submissions that have both."""

    state: State
    sent_at: int | None
    estimated: int
    cost: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """`reason` says why not."""

    phase: Phase
    reason: str = ""


def judge(canary: Canary, rows: Sequence[Row], *, now: int) -> Verdict:
    """Trying while it can still turn out either way; rows that were taken back have no say."""
    rows = [row for row in rows if row.state is not State.WITHDRAWN]
    if not rows:
        return Verdict(Phase.TRYING)
    ended = [row for row in rows if row.state in TERMINAL]
    late = [
        row
        for row in rows
        if row.state not in TERMINAL and row.sent_at and now - row.sent_at > canary.patience
    ]
    failed = [row for row in ended if row.state is not State.SUCCEEDED]
    if (len(failed) + len(late)) * WHOLE > canary.failures * len(rows):
        unresolved = f", {len(late)} had not ended in time" if late else ""
        return Verdict(
            Phase.FAILED,
            f"of the canary's {len(rows)} rows {len(failed)} failed{unresolved}; "
            f"{_percent(canary.failures)} may",
        )
    if len(ended) + len(late) < len(rows):
        return Verdict(Phase.TRYING)
    estimated, cost = sum(row.estimated for row in rows), sum(row.cost for row in rows)
    if cost * WHOLE > canary.cost * estimated:
        times = f"{cost / estimated:.2f} times" if estimated else "more than"
        return Verdict(
            Phase.FAILED,
            f"the canary cost {times} its estimate; {canary.cost / WHOLE:g} times may be",
        )
    return Verdict(Phase.PASSED)


def _percent(thousandths: int) -> str:
    return f"{thousandths / 10:g}%"
