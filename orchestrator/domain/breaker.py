"""The circuit breaker: a run of equal failures stops sending before it has cost the whole batch."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.domain.outcome import Accepted, Ambiguous, Lost, NotSent, SubmitOutcome

TRIPS_AFTER = 10
"""Equal failures in a row, as one worker process sees them."""


@dataclass(slots=True)
class Breaker:
    """Counts what one process meets; a conflict is one row's own affair and does not count."""

    failure: Lost | None = None
    run: int = 0

    def trips(self, outcome: SubmitOutcome | NotSent) -> bool:
        """Note an outcome; True where it completes a run. The next run is counted from none."""
        match outcome:
            case Ambiguous(reason) if reason is not Lost.CONFLICT:
                self.run = self.run + 1 if reason is self.failure else 1
                self.failure = reason
            case Accepted():
                self.run = 0
        if self.run < TRIPS_AFTER:
            return False
        self.run = 0
        return True
