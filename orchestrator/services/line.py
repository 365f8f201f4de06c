"""Those of one process who wait for leave to send: one asks for all of them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from orchestrator.limits import Granted

STALE_SECONDS = 0.05
"""Leave that nobody has used by then is given up: used later, it would come on top of the rate."""


@dataclass(slots=True)
class Line:
    """`lock` is held by the one who asks; `waiting` counts everybody, that one too."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: int = 0
    granted: Granted = field(default_factory=lambda: Granted(count=0))
    granted_at: float = 0.0

    def put(self, granted: Granted, monotonic: float) -> None:
        """Leave for as many as were waiting, or fewer."""
        self.granted, self.granted_at = granted, monotonic

    def take_one(self, monotonic: float) -> Granted | None:
        """Leave for one request, where some is left and fresh."""
        left = self.granted.count
        if left == 0 or monotonic - self.granted_at > STALE_SECONDS:
            return None
        self.granted = Granted(self.granted.at, left - 1)
        return Granted(self.granted.at)
