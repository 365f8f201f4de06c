"""What a look at an installation finds: good, worth a thought, or not to be worked with."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from orchestrator.errors import ConfigError


class Level(StrEnum):
    """`BAD` is unsafe or cannot work; `WARNING` works, with a risk somebody should know of."""

    OK = "ok"
    WARNING = "warning"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: a sentence, and how to mend it where there is something to mend."""

    check: str
    level: Level
    found: str
    mend: str | None = None
    code: str = "config"

    def as_json(self) -> dict[str, object]:
        return {
            "check": self.check,
            "ok": self.level is not Level.BAD,
            "level": self.level.value,
            "found": self.found,
            "mend": self.mend,
        }


def ok(check: str, found: str) -> Finding:
    return Finding(check, Level.OK, found)


def warning(check: str, found: str, mend: str) -> Finding:
    return Finding(check, Level.WARNING, found, mend)


def bad(check: str, found: str, mend: str, *, code: str = "config") -> Finding:
    return Finding(check, Level.BAD, found, mend, code)


def refuse_bad(findings: Iterable[Finding]) -> list[Finding]:
    """Raises ConfigError for the first bad one; returns the warnings."""
    kept = []
    for finding in findings:
        if finding.level is Level.BAD:
            raise ConfigError(finding.found, mend=finding.mend or "", code=finding.code)
        if finding.level is Level.WARNING:
            kept.append(finding)
    return kept
