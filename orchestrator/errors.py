"""The errors a person can meet, each with what happened, where, and the mend.

OrchestratorError
├── UsageError            exit 2   the command line, or what it asks for
├── SpecError             exit 2   the file of prompts; carries every problem found
├── ConfigError           exit 3   settings, credentials, directories
├── ServiceError          exit 3   a database, broker or provider out of reach
├── BudgetError           exit 4   the money set aside does not suffice
└── NeedsPersonError      exit 5   only a person can decide
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple


class Problem(NamedTuple):  # of which a file may have a hundred thousand
    """One thing wrong with a spec, with its place (lines and columns count from 1)."""

    file: str
    line: int
    column: int
    field: str | None
    value: str | None
    message: str
    mend: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}"
        field = f" {_one_line(self.field)}:" if self.field else ""
        value = "" if self.value is None else f" (got '{_one_line(self.value)}')"
        return f"{place}:{field} {_one_line(self.message)}{value}. {_one_line(self.mend)}"

    def as_json(self) -> dict[str, object]:
        return self._asdict()


def _one_line(value: str) -> str:
    """As written, but for what would break the line or not be seen."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in value)


def _again(
    kind: type[OrchestratorError], args: tuple[object, ...], state: dict[str, object]
) -> OrchestratorError:
    made = kind.__new__(kind)
    made.args = args
    made.__dict__.update(state)
    return made


class OrchestratorError(Exception):
    """Something went wrong that a person can understand and mend."""

    exit_code = 3
    code = "error"

    def __init__(self, message: str, *, mend: str, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.mend = mend
        if code is not None:
            self.code = code

    def __reduce__(self) -> tuple[object, ...]:
        """Pools hand a task's error to their main process."""
        return _again, (type(self), self.args, self.__dict__)

    def as_json(self) -> dict[str, object]:
        """The contract's shape: {"error": {"code", "message", "mend"}}."""
        return {"error": {"code": self.code, "message": self.message, "mend": self.mend}}


class UsageError(OrchestratorError):
    """The command line, or what it asks for, cannot be done."""

    exit_code = 2
    code = "usage"


class SpecError(OrchestratorError):
    """A spec that cannot be taken; `problems` holds every one of them, in file order."""

    exit_code = 2
    code = "bad_spec"

    def __init__(
        self, message: str, *, mend: str, problems: Sequence[Problem] = (), code: str | None = None
    ) -> None:
        super().__init__(message, mend=mend, code=code)
        self.problems = tuple(problems)

    def as_json(self) -> dict[str, object]:
        shape = super().as_json()
        return shape | {"problems": [problem.as_json() for problem in self.problems]}


class ConfigError(OrchestratorError):
    """A setting, a credential or a directory cannot be used."""

    exit_code = 3
    code = "config"


class ServiceError(OrchestratorError):
    """A database, a broker or the provider is out of reach."""

    exit_code = 3
    code = "unreachable"


class BudgetError(OrchestratorError):
    """The money set aside does not suffice."""

    exit_code = 4
    code = "budget"


class NeedsPersonError(OrchestratorError):
    """Only a person can decide how to go on."""

    exit_code = 5
    code = "needs_person"


def too_many_problems(
    path: Path, problems: list[Problem], *, then: str = "nothing was recorded"
) -> SpecError:
    many = f"{len(problems):,} problems" if len(problems) > 1 else "1 problem"
    return SpecError(
        f"{path} has {many}; {then}",
        mend="Mend the places named, then give the same command again.",
        problems=problems,
    )
