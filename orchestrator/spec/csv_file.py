"""CSV: one row at a time, every row with the line it begins in."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from orchestrator.domain.models import shown
from orchestrator.errors import Problem, SpecError
from orchestrator.spec.checking import RowChecker
from orchestrator.spec.csv_header import MAX_CELL, CsvHeader, read_header
from orchestrator.spec.entries import Checked, Draft, SpecHeader
from orchestrator.spec.files import Source, opened
from orchestrator.spec.quotes import opening_line
from orchestrator.spec.sources import Reading

_COLUMN = 1


@dataclass(frozen=True)
class CsvFile:
    """A CSV whose header was read."""

    source: Source
    head: CsvHeader

    @property
    def header(self) -> SpecHeader:
        """A CSV has no place for a name, a model or a budget."""
        return SpecHeader()

    @property
    def columns(self) -> tuple[str, ...]:
        """The named ones, as written."""
        return tuple(name for name in self.head.columns[self.head.skipped :] if name)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Those of the header."""
        return self.head.problems

    def checked(self) -> Iterator[Checked]:
        """One entry per row that is not blank. Raises SpecError where reading fails."""
        checker = RowChecker(
            str(self.source),
            decimal_comma=self.head.delimiter != ",",
            unwritable=self.head.unwritable,
        )
        for draft in drafts(self.source, self.head):
            yield checker.check(draft)


def open_csv(source: Source, how: Reading) -> CsvFile:
    """Read the header. Raises SpecError where there is none, or nothing below it."""
    head = read_header(source, told=how.delimiter, keep=how.keep)
    if next(drafts(source, head), None) is None:
        raise SpecError(
            f"{source} has a header but no rows", mend="Write a prompt below it.", code="no_rows"
        )
    return CsvFile(source, head)


def drafts(source: Source, head: CsvHeader) -> Iterator[Draft]:
    """Every row below the header that is not blank.

    A row whose quotes are broken comes as a draft with that problem; if it swallowed later lines,
    it is the last.
    """
    csv.field_size_limit(MAX_CELL)
    columns = {name: at for at, name in enumerate(head.names, start=1) if name}
    with opened(source) as file:
        reader = csv.reader(islice(file, head.line, None), delimiter=head.delimiter, strict=True)
        end = head.line
        while True:
            first = end + 1
            try:
                cells = next(reader, None)
            except csv.Error as error:
                end = head.line + reader.line_num
                yield _broken(source, head, first, end, error)
                if end > first:
                    return
                continue
            if cells is None:
                return
            end = head.line + reader.line_num
            if any(map(str.strip, cells)):
                yield draft_of(str(source), head, columns, first, cells)


def draft_of(
    file: str, head: CsvHeader, columns: dict[str, int], line: int, cells: list[str]
) -> Draft:
    """What one row's cells say under this header."""
    values = {
        name: cell
        for name, cell in zip(head.names, cells, strict=False)
        if name is not None and cell and not cell.isspace()
    }
    problems: tuple[Problem, ...] = ()
    own = head.columns[head.skipped :]
    source = dict(zip(own, cells[head.skipped :], strict=False))
    if len(cells) < len(head.columns):
        source = dict.fromkeys(own, "") | source
    if len(cells) > len(head.columns) or "" in source:
        problems = _strays(file, head, line, cells)
        source.pop("", None)
    return Draft(
        line=line,
        column=_COLUMN,
        row_id=values.pop("id", None),
        model=values.pop("model", None),
        values=values,
        source=source,
        columns=columns,
        problems=problems,
    )


def _strays(file: str, head: CsvHeader, line: int, cells: list[str]) -> tuple[Problem, ...]:
    """Text in a cell that no column name stands above: most often an unquoted comma's doing."""
    width = len(head.columns)
    for at, cell in enumerate(cells):
        if cell.strip() and (at >= width or not head.columns[at]):
            if at >= width and head.delimiter:
                message = f"the row has {len(cells)} cells, the header {width}"
                mend = f'Put a text that has a "{_name(head.delimiter)}" in it into double quotes.'
            else:
                message = "is in a column without a name"
                mend = "Name the column in the first line, or empty the cell."
            return (Problem(file, line, at + 1, None, shown(cell), message, mend),)
    return ()


def _name(delimiter: str) -> str:
    return "tab" if delimiter == "\t" else delimiter


def _broken(source: Source, head: CsvHeader, first: int, end: int, error: csv.Error) -> Draft:
    """What the csv module refused, as a problem in the line where its quote opened."""
    with opened(source) as file:
        line = opening_line(islice(file, first - 1, end), first, head.delimiter)
    rest = " The rows after it could not be read." if end > first else ""
    if "end of data" in str(error):
        message = "a double quote opens here and is never closed"
        mend = f"Close it, or write a quote inside a text twice.{rest}"
    elif "field limit" in str(error):
        message = f"a cell has more than {MAX_CELL:,} characters"
        mend = f"Host the image and give its address; or close a forgotten quote.{rest}"
    else:
        message = f"a double quote opens here and closes in line {end} before the cell ends"
        mend = f"Write a quote inside a quoted text twice.{rest}"
    problem = Problem(str(source), line, _COLUMN, None, None, message, mend)
    return Draft(first, _COLUMN, None, None, {}, {}, {}, problems=(problem,), last=end > first)
