"""Excel workbooks: the first sheet, read as a CSV of the same cells would be.

A workbook is held in memory; its size is bounded before it is opened.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from orchestrator.errors import ConfigError, Problem, SpecError
from orchestrator.spec import xlsx_cells
from orchestrator.spec.checking import RowChecker
from orchestrator.spec.csv_file import draft_of
from orchestrator.spec.csv_header import CsvHeader, described
from orchestrator.spec.entries import Checked, Note, SpecHeader
from orchestrator.spec.files import Source
from orchestrator.spec.sources import Reading

MAX_UNPACKED = 256 * 1024 * 1024
MAX_CELLS = 5_000_000
"""Of one sheet, empty ones between the outermost included: they take memory too."""
MAX_SECONDS = 120
_AS_CSV = "In Excel, save the sheet with File > Save As > CSV UTF-8 (Comma delimited)."

# What zipfile raises for damaged, encrypted and exotic archives.
_BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    NotImplementedError,
    RuntimeError,
    EOFError,
    OSError,
    ValueError,
)

Cells = list[str]


@dataclass(frozen=True)
class XlsxFile:
    """A workbook whose first sheet was read; `sheet` has its rows with their numbers."""

    source: Source
    head: CsvHeader
    sheet: tuple[tuple[int, Cells], ...]
    notes: tuple[Note, ...]
    errors: Mapping[int, Mapping[int, str]]
    """Row -> column (both from 1) -> what Excel shows where a formula went wrong."""

    @property
    def header(self) -> SpecHeader:
        """A sheet has no place for a name, a model or a budget."""
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
        """One entry per row that is not blank."""
        name = str(self.source)
        checker = RowChecker(name, decimal_comma=True, unwritable=self.head.unwritable)
        columns = {name: at for at, name in enumerate(self.head.names, start=1) if name}
        notes = self.notes
        for line, cells in self.sheet:
            draft = draft_of(name, self.head, columns, line, cells)
            if line in self.errors:
                draft = replace(draft, problems=tuple(self._wrong(line)))
            found = checker.check(draft)
            yield replace(found, notes=notes + found.notes)
            notes = ()

    def _wrong(self, line: int) -> Iterator[Problem]:
        """A cell without a value must not become a default."""
        names = dict(enumerate(self.head.names, start=1))
        for column, text in self.errors[line].items():
            message, mend = "is an error of Excel", "Mend its formula, or empty the cell."
            yield Problem(str(self.source), line, column, names.get(column), text, message, mend)


def open_xlsx(source: Source, how: Reading) -> XlsxFile:
    """Read the first sheet. Raises SpecError, ConfigError where the reader is not installed."""
    _refuse_huge(source)
    names, errors, rows = _read(source)
    filled = ((line, cells) for line, cells in rows if any(map(str.strip, cells)))
    line, cells = next(filled, (0, []))
    while cells and not cells[-1].strip():
        cells.pop()
    if not cells:
        raise SpecError(
            f"{source} has no text in its first sheet",
            mend="Write prompt into its first cell, and a prompt below it.",
            code="empty",
        )
    head = described(str(source), "", cells, line, how.keep)
    sheet = tuple(filled)
    if not sheet:
        raise SpecError(
            f"{source} has a header but no rows", mend="Write a prompt below it.", code="no_rows"
        )
    notes: tuple[Note, ...] = ()
    if len(names) > 1:
        message = f"only the first sheet is read, not {', '.join(names[1:4])}"
        notes = (Note(str(source), 1, 1, "sheet", names[0], message),)
    return XlsxFile(source, head, sheet, notes, errors)


def _refuse_huge(source: Source) -> None:
    """A small file may stand for a huge sheet: its parts are measured before it is opened."""
    try:
        with zipfile.ZipFile(source.path) as book:
            parts = book.infolist()
            if sum(part.file_size for part in parts) > MAX_UNPACKED:
                size = f"{MAX_UNPACKED // 1024**2} MB"
                raise SpecError(f"{source} unpacks to more than {size}", mend=_AS_CSV)
            for part in parts:
                if part.filename.startswith("xl/worksheets/"):
                    _measure(source, book, part)
    except _BROKEN:
        raise _broken(source) from None


def _measure(source: Source, book: zipfile.ZipFile, part: zipfile.ZipInfo) -> None:
    rows: list[int] = [0, 0]
    columns: list[int] = [0, 0]
    rest = b""
    unpacked = 0
    with book.open(part) as sheet:
        while chunk := sheet.read(xlsx_cells.CHUNK):
            unpacked += len(chunk)
            text = rest + chunk
            for letters, digits in xlsx_cells.PLACE.findall(text):
                _widen(rows, int(digits))
                _widen(columns, _number(letters))
            rest = text[-32:]
            if unpacked > MAX_UNPACKED:
                raise _broken(source)
    if (rows[1] - rows[0] + 1) * (columns[1] - columns[0] + 1) > MAX_CELLS:
        raise SpecError(
            f"{source} has a sheet of more than {MAX_CELLS:,} cells, empty ones counted",
            mend=f"Delete the cells far off. {_AS_CSV}",
        )


def _widen(bounds: list[int], at: int) -> None:
    bounds[0] = min(bounds[0] or at, at)
    bounds[1] = max(bounds[1], at)


def _number(letters: bytes) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + letter - ord("A") + 1
    return number


def _read(
    source: Source,
) -> tuple[list[str], Mapping[int, Mapping[int, str]], Iterator[tuple[int, Cells]]]:
    """(names of sheets, the first one's errors by row and column, its rows with their numbers)."""
    if importlib.util.find_spec("python_calamine") is None:
        raise ConfigError(
            "Excel workbooks need a reader that is not installed",
            mend=f"Install the extra: pip install 'video-batch-orchestrator[xlsx]'. {_AS_CSV}",
            code="extra",
        )
    with tempfile.TemporaryFile("w+", encoding="utf-8") as told:
        command = [sys.executable, "-P", xlsx_cells.__file__, str(source.path)]
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=told,
                stderr=subprocess.DEVNULL,
                timeout=MAX_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise _broken(source) from None
        if done.returncode:
            raise _broken(source)
        told.seek(0)
        names, (first, before), wrong, *rows = map(json.loads, told)
    errors: dict[int, dict[int, str]] = {}
    for row, letters, text in wrong:
        errors.setdefault(row, {})[_number(letters.encode())] = text

    def numbered() -> Iterator[tuple[int, Cells]]:
        for number, cells in enumerate(rows, start=first + 1):
            whole = [""] * before + cells
            for column, text in errors.get(number, {}).items():
                whole[column - 1 : column] = [text]
            yield number, whole

    return names, errors, numbered()


def _broken(source: Source) -> SpecError:
    return SpecError(
        f"{source} is not an Excel workbook that can be read", mend=_AS_CSV, code="format"
    )
