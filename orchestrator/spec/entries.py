"""What comes out of a spec, and what a format's reader hands to the row checker."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from orchestrator.domain.canary import UNTOLD, Pace
from orchestrator.domain.deadline import Deadline
from orchestrator.domain.identity import Json
from orchestrator.domain.money import to_nanos
from orchestrator.errors import Problem


@dataclass(frozen=True, slots=True)
class SpecHeader:
    """What a spec says about the whole batch; None where it says nothing. `budget` is in USD.

    `retries`: how often a failure that the provider reports is bought anew without being asked.
    """

    name: str | None = None
    model: str | None = None
    budget: Decimal | None = None
    retries: int = 0
    deadline: Deadline | None = None
    download: str | None = None
    """Where `run` saves the videos: a folder relative to the spec's, or an object store's URL."""
    reuse: bool = False
    """Whether new rows take identical earlier successes of other batches."""
    table: str | None = None
    """The file beside it that its rows come from."""
    pace: Pace = UNTOLD
    account: str | None = None
    """Whose API key sends it, by name."""

    @property
    def budget_nanos(self) -> int | None:
        """As the store keeps it."""
        return None if self.budget is None else to_nanos(self.budget)


@dataclass(frozen=True, slots=True)
class SpecRow:
    """A row that can be sent.

    `position` counts rows from 0, bad ones included; `line` is the row's first line in the file.
    `input_json` is the canonical JSON of the normal input. `source` maps the person's columns to
    the text they wrote, "" where they wrote none.
    """

    position: int
    line: int
    row_key: str
    row_id: str | None
    model: str
    digest: str
    input_json: str
    price_class: str
    source: Mapping[str, str]


class Note(NamedTuple):
    """Something that was understood although written otherwise; nothing to mend."""

    file: str
    line: int
    column: int
    field: str
    value: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.field}: {self.message}"


class Place(NamedTuple):
    """Lines and columns count from 1; a CSV's columns are its cells, a YAML's its characters.

    `file` is None where it is the spec itself.
    """

    line: int
    column: int
    file: str | None = None


@dataclass(frozen=True, slots=True)
class Draft:
    """A row as its format's reader found it, before anything is known to be right.

    `values` holds the model's fields that were written (no empty cells); text stands for any kind
    of value. `columns` and `lines` say where a field stands (default: the row's own place).
    `table` is the file of a row that a YAML spec takes from elsewhere, `elsewhere` the fields that
    stand in the spec nevertheless. A draft with `problems` cannot be read any further.
    """

    line: int
    column: int
    row_id: str | None
    model: str | None
    values: Mapping[str, Json]
    source: Mapping[str, str]
    columns: Mapping[str, int]
    lines: Mapping[str, int] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    table: str | None = None
    elsewhere: frozenset[str] = frozenset()
    decimal_comma: bool = False
    last: bool = False
    """What is wrong here hides the rows after it."""

    def place(self, name: str) -> Place:
        """Where a field stands, or would stand."""
        file = None if name in self.elsewhere else self.table
        return Place(self.lines.get(name, self.line), self.columns.get(name, self.column), file)


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be sent, for whoever wants it carried along instead of refused.

    `digest` stands for what was written.
    """

    line: int
    row_key: str
    digest: str
    source: Mapping[str, str]
    problems: tuple[Problem, ...]

    @property
    def message(self) -> str:
        """Each problem with its mend; the line where nothing else tells which row it is."""
        said = [] if self.source else [f"line {self.line}:"]
        for problem in self.problems:
            about = " ".join(part for part in (problem.field, problem.value) if part)
            said.append(f"{about}: {problem.message}" if about else problem.message)
            said[-1] = f"{said[-1].rstrip('.')}. {problem.mend}".strip()
        return " ".join(said)


@dataclass(frozen=True, slots=True)
class Checked:
    """What became of one draft: a row, or its problems; and notes.

    `bad` makes the row with problems that can be carried along; call it in file order, at most
    once. There is none of a row that hides others.
    """

    row: SpecRow | None
    problems: tuple[Problem, ...]
    notes: tuple[Note, ...]
    bad: Callable[[], BadRow] | None = None
