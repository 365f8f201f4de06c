"""Until when a batch sends anything new. Milliseconds."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from orchestrator.domain.schedule import DAY, HOUR, MINUTE

_UNITS = {"m": MINUTE, "h": HOUR, "d": DAY}
_SPAN = re.compile(r"([0-9]{1,6})\s*([mhd])")


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment, or a length of time after the batch was made."""

    at: int | None = None
    after: int | None = None

    def moment(self, created_at: int) -> int:
        """When nothing new is sent any more."""
        return self.at if self.at is not None else created_at + (self.after or 0)


def parse_deadline(text: str) -> Deadline:
    """`2026-12-01T18:00Z`, `2026-12-01 18:00+01:00`, `6h`, `2d`. Raises ValueError."""
    span = _SPAN.fullmatch(text.strip())
    if span is not None and int(span[1]):
        return Deadline(after=int(span[1]) * _UNITS[span[2]])
    moment = datetime.fromisoformat(text.strip())
    if moment.tzinfo is None:
        raise ValueError("no zone")
    return Deadline(at=round(moment.timestamp() * 1000))


def passed(deadline_at: int | None, now: int) -> bool:
    return deadline_at is not None and deadline_at <= now
