"""How far a machine's clock is from the database's, and when that is too far to send.

Leases, due times and the ages of keys are counted by the database's clock, and a worker measures
only how much time has passed, so a machine that is some minutes off does no harm. But a worker's
clock is also the only witness of the database's: keys are trusted for their retention less an hour,
so all clocks that ages were ever counted with (the database's now, the one it came from at a
failover, the one a journal was written by) must agree within that hour. With each of them within
ten minutes of the workers', no two are further apart than twenty.
"""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.domain.findings import Finding, bad, ok, warning
from orchestrator.domain.submission import CLOCKS_APART
from orchestrator.errors import ConfigError

WORTH_A_WORD = 2_000
TOO_FAR = CLOCKS_APART
CODE = "clock"


@dataclass(frozen=True, slots=True)
class Skew:
    """Milliseconds this machine is ahead of the database (behind where negative), give or take."""

    ahead: int
    doubt: int = 0

    @property
    def least(self) -> int:
        """How far it is at the least."""
        return max(0, abs(self.ahead) - self.doubt)


def measured(before: int, theirs: int, after: int) -> Skew:
    """From our clock's time before and after the database said its own."""
    return Skew((before + after) // 2 - theirs, (after - before + 1) // 2)


def sentence(skew: Skew) -> str:
    seconds = round(abs(skew.ahead) / 1000)
    return f"{seconds:,} s {'ahead of' if skew.ahead > 0 else 'behind'} the database's"


def judge(skew: Skew, machine: str) -> Finding:
    """What is to be said of one machine's clock."""
    check, mend = "clocks", "Let one time service (chrony, systemd-timesyncd) keep every machine."
    if skew.least > TOO_FAR:
        text = f"the clock of {machine} is {sentence(skew)}: nothing is sent from there"
        return bad(check, text, mend, code=CODE)
    if skew.least > WORTH_A_WORD:
        return warning(check, f"the clock of {machine} is {sentence(skew)}", mend)
    return ok(check, f"{machine} agrees with the database's")


def refuse_far(skew: Skew) -> None:
    """Raises ConfigError where nothing may be sent by such a clock."""
    if skew.least > TOO_FAR:
        raise ConfigError(
            f"this machine's clock is {sentence(skew)}, so nothing is sent from here: one of the "
            "two is wrong, and the ages of keys depend on it",
            mend="Set the wrong one right, best by a time service on every machine. Running "
            "workers go on by themselves.",
            code=CODE,
        )
