"""The head of a CSV: its delimiter, which column is which field, and what is wrong with it."""

from __future__ import annotations

import csv
from dataclasses import dataclass

from orchestrator.domain.models import shown, suggestion
from orchestrator.domain.results import COLUMNS, REUSED_FROM
from orchestrator.errors import Problem, SpecError
from orchestrator.spec.files import Source, opened
from orchestrator.spec.own import is_own, known_columns, mend_unknown
from orchestrator.spec.templates import folded

DELIMITERS = ",;\t|"
"""Those that are looked for; a tie goes to the first."""
MAX_COLUMNS = 10_000
MAX_CELL = 15 * 1024 * 1024
"""Characters: room for the base64 of the largest image, and little more."""


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


def read_header(
    source: Source, *, told: str | None, keep: frozenset[str], free: bool = False
) -> CsvHeader:
    """Find the delimiter and the columns. Raises SpecError where there is no header at all.

    `told`: the delimiter, None to find it. `keep`: own columns beside those that begin with x_.
    `free`: a table for templates, in which any name will do and every cell is read, by its
    column's folded name.
    """
    csv.field_size_limit(MAX_CELL)
    written, line, text = _first_line(source)
    delimiter = told or written or max(DELIMITERS, key=lambda candidate: _fitness(text, candidate))
    cells = _split(text, delimiter)
    while cells and not cells[-1].strip():
        cells.pop()
    if len(cells) > MAX_COLUMNS:
        raise SpecError(
            f"{source} has {len(cells):,} columns, more than {MAX_COLUMNS:,}",
            mend="Check that it is a table of prompts.",
        )
    if not cells:
        raise SpecError(f"{source} has no header line", mend="Begin it with a line `prompt`.")
    return described(str(source), delimiter, cells, line, keep, free=free)


def _first_line(source: Source) -> tuple[str | None, int, str]:
    """(delimiter of an Excel `sep=` line or None, line number, text) of the header line."""
    told = None
    with opened(source) as file:
        for number, line in enumerate(file, start=1):
            text = line.rstrip("\r\n")
            if text.lower().startswith("sep=") and len(text) == len("sep=") + 1:
                told = text[-1]
            elif text.strip(" \t,;"):
                return told, number, text
    raise SpecError(
        f"{source} has no text", mend="Write a line `prompt`, and a prompt below it.", code="empty"
    )


def _split(text: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([text], delimiter=delimiter), [])
    except csv.Error:
        return []


def _fitness(text: str, delimiter: str) -> tuple[int, int]:
    cells = _split(text, delimiter)
    known = set(known_columns())
    return sum(folded(cell) in known for cell in cells), len(cells)


def described(
    file: str,
    delimiter: str,
    cells: list[str],
    line: int,
    keep: frozenset[str],
    *,
    free: bool = False,
) -> CsvHeader:
    """Which of a header's cells is which column, and what is wrong with them."""
    known = known_columns()
    skipped = 0 if free else _result_columns(cells)
    names: list[str | None] = [None] * skipped
    first: dict[str, int] = {}
    problems: list[Problem] = []
    misspelt: set[str] = set()
    for column, cell in enumerate(cells[skipped:], start=skipped + 1):
        name = folded(cell)
        read = name in known or (free and bool(name))
        names.append(name if read and name not in first else None)
        if not name or (skipped and name == REUSED_FROM):
            continue
        if not read and not is_own(name, keep):
            meant = suggestion(name, known)
            misspelt |= {meant} if meant else set()
            problems.append(_unknown(file, line, column, cell))
        elif name in first:
            problems.append(_twice(file, line, column, cell, first[name]))
        first.setdefault(name, column)
    missing = frozenset() if free else frozenset({"prompt"} - set(names))
    if missing and not misspelt and not any(names):
        problems = [_no_prompt(file, line, cells)]
    elif missing - misspelt:
        problems.append(_no_prompt(file, line, cells))
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
    begin = [folded(cell) for cell in cells[: len(COLUMNS)]]
    return len(COLUMNS) if begin == list(COLUMNS) else 0


def _unknown(file: str, line: int, column: int, cell: str) -> Problem:
    mend = mend_unknown(folded(cell), known_columns())
    message = "is not a known column"
    return Problem(file, line, column, cell.strip(), shown(cell.strip()), message, mend)


def _twice(file: str, line: int, column: int, cell: str, first: int) -> Problem:
    message = f"is the name of two columns, the {first}. and the {column}."
    mend = "Leave one of the two out."
    return Problem(file, line, column, cell.strip().casefold(), shown(cell), message, mend)


def _no_prompt(file: str, line: int, cells: list[str]) -> Problem:
    first = shown(cells[0])
    mend = f"The first line names the columns; it begins with {first!r}. Write prompt above them."
    if other := _other_delimiter(cells[0]):
        mend = f"If {other} stands between its columns, tell it: --delimiter '{other}'."
    return Problem(file, line, 1, "prompt", None, "there is no column prompt", mend)


def _other_delimiter(cell: str) -> str | None:
    """A character that makes two or more known columns of one cell."""
    known = known_columns()
    marks = dict.fromkeys(c for c in cell if not (c.isalnum() or c.isspace() or c == "_"))
    for mark in marks:
        parts = cell.split(mark)
        if len(parts) > 1 and all(folded(part) in known for part in parts):
            return mark
    return None
