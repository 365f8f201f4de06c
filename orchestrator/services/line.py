"""Those of one process who wait for leave to send: one asks for all of them."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field

from orchestrator.limits import Granted

Told = Granted | str | None
"""Leave, a sentence why there is none, or None: ask for us now."""


@dataclass(slots=True)
class Line:
    """`asking`: somebody asks, or was just told to; everybody else waits in the order of coming."""

    asking: bool = False
    waiting: deque[asyncio.Future[Told]] = field(default_factory=deque)

    async def wait(self) -> Told:
        """Until whoever asks has something for us."""
        place: asyncio.Future[Told] = asyncio.get_running_loop().create_future()
        self.waiting.append(place)
        try:
            return await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled() and place.result() is None:
                # It was our turn to ask, and we are gone.
                self.pass_on()
            raise

    def give(self, granted: Granted) -> None:
        """Leave for those at the head, beside the one who asked."""
        for _ in range(granted.count - 1):
            self._tell(Granted(granted.at))

    def refuse(self, sentence: str) -> None:
        """What was said to the one who asked holds for all."""
        while self._tell(sentence):
            pass

    def pass_on(self) -> None:
        """The one who asked is done: the next one asks, if there is one."""
        self.asking = self._tell(None)

    def _tell(self, told: Told) -> bool:
        while self.waiting:
            place = self.waiting.popleft()
            if not place.done():
                place.set_result(told)
                return True
        return False
