"""The head of a CSV: its delimiter, which column is which field, and what is wrong with it."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from orchestrator.domain.models import models, shown, suggestion
from orchestrator.domain.results import COLUMNS
from orchestrator.errors import Problem, SpecError
from orchestrator.spec.files import opened

DELIMITERS = ",;\t"
MAX_CELL = 15 * 1024 * 1024
"""Characters: room for the base64 of the largest image, and little more."""
_FIRST = ("prompt", "id", "model")


@dataclass(frozen=True, slots=True)
class CsvHeader:
    """`names` has a known column's field, or None where the cell is not read, for each cell.

    `columns` has the names as written; "" where there is none. Rows begin below `line`.
    """

    delimiter: str
    columns: tuple[str, ...]
    names: tuple[str | None, ...]
    line: int
    problems: tuple[Problem, ...]
    unwritable: frozenset[str]
    skipped: int = 0
    """Leading columns that are passed over: the file is the results of an earlier batch."""


def known_columns() -> tuple[str, ...]:
    """Every column that means something, the most used first."""
    fields = [field.name for model in models().values() for field in model.fields]
    return tuple(dict.fromkeys((*_FIRST, *fields)))


def read_header(path: Path) -> CsvHeader:
    """Find the delimiter and the columns. Raises SpecError where there is no header at all."""
    csv.field_size_limit(MAX_CELL)
    told, line, text = _first_line(path)
    delimiter = told or max(DELIMITERS, key=lambda candidate: _fitness(text, candidate))
    cells = _split(text, delimiter)
    while cells and not cells[-1].strip():
        cells.pop()
    if not cells:
        raise SpecError(f"{path} has no header line", mend="Begin it with a line `prompt`.")
    return _described(path, delimiter, cells, line)


def _first_line(path: Path) -> tuple[str | None, int, str]:
    """(delimiter of an Excel `sep=` line or None, line number, text) of the header line."""
    told = None
    with opened(path) as file:
        for number, line in enumerate(file, start=1):
            text = line.rstrip("\r\n")
            if text.lower().startswith("sep=") and len(text) == len("sep=") + 1:
                told = text[-1]
            elif text.strip(" \t,;"):
                return told, number, text
    raise SpecError(
        f"{path} has no text", mend="Write a line `prompt`, and a prompt below it.", code="empty"
    )


def _split(text: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([text], delimiter=delimiter), [])
    except csv.Error:
        return []


def _fitness(text: str, delimiter: str) -> tuple[int, int]:
    cells = _split(text, delimiter)
    known = set(known_columns())
    return sum(_folded(cell) in known for cell in cells), len(cells)


def _folded(cell: str) -> str:
    return cell.strip().casefold()


def _described(path: Path, delimiter: str, cells: list[str], line: int) -> CsvHeader:
    known = known_columns()
    skipped = _result_columns(cells)
    names: list[str | None] = [None] * skipped
    problems: list[Problem] = []
    misspelt: set[str] = set()
    for column, cell in enumerate(cells[skipped:], start=skipped + 1):
        name = _folded(cell)
        if not name:
            names.append(None)
        elif name not in known:
            names.append(None)
            meant = suggestion(name, known)
            misspelt |= {meant} if meant else set()
            problems.append(_unknown(path, line, column, cell, meant))
        elif name in names:
            names.append(None)
            problems.append(_twice(path, line, column, cell, names.index(name) + 1))
        else:
            names.append(name)
    missing = frozenset({"prompt"} - set(names))
    if missing and not misspelt and not any(names):
        problems = [_no_prompt(path, line, cells)]
    elif missing - misspelt:
        problems.append(_no_prompt(path, line, cells))
    return CsvHeader(
        delimiter=delimiter,
        columns=tuple(cell.strip() for cell in cells),
        names=tuple(names),
        line=line,
        problems=tuple(problems),
        unwritable=missing,
        skipped=skipped,
    )


def _result_columns(cells: list[str]) -> int:
    """How many columns are those of `results`; 0 where the file is no such export."""
    begin = [_folded(cell) for cell in cells[: len(COLUMNS)]]
    return len(COLUMNS) if begin == list(COLUMNS) else 0


def _unknown(path: Path, line: int, column: int, cell: str, meant: str | None) -> Problem:
    mend = (
        f'Did you mean "{meant}"?'
        if meant
        else f"Remove the column. Known ones: {', '.join(known_columns())}."
    )
    message = "is not a known column"
    return Problem(str(path), line, column, cell.strip(), shown(cell.strip()), message, mend)


def _twice(path: Path, line: int, column: int, cell: str, first: int) -> Problem:
    message = f"is the name of two columns, the {first}. and the {column}."
    mend = "Leave one of the two out."
    return Problem(str(path), line, column, cell.strip().casefold(), shown(cell), message, mend)


def _no_prompt(path: Path, line: int, cells: list[str]) -> Problem:
    first = shown(cells[0])
    mend = f"The first line names the columns; it begins with {first!r}. Write prompt above them."
    return Problem(str(path), line, 1, "prompt", None, "there is no column prompt", mend)
