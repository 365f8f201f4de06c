"""The front of the package: which reader a file needs, and its rows as one stream."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from orchestrator.errors import Problem, SpecError, UsageError
from orchestrator.spec import csv_file, jsonl_file, xlsx_file, yaml_file
from orchestrator.spec.entries import BadRow, Checked, Note, SpecHeader, SpecRow
from orchestrator.spec.files import Source, require_file, require_text
from orchestrator.spec.sources import STANDARD_INPUT, Reading, ending, received

AS_FOUND = Reading()
AnyFile: TypeAlias = (
    csv_file.CsvFile | jsonl_file.JsonlFile | xlsx_file.XlsxFile | yaml_file.YamlFile
)
_READERS: dict[str, Callable[[Source, Reading], AnyFile]] = {
    ".csv": csv_file.open_csv,
    ".tsv": csv_file.open_csv,
    ".txt": csv_file.open_csv,
    ".jsonl": jsonl_file.open_jsonl,
    ".ndjson": jsonl_file.open_jsonl,
    ".xlsx": xlsx_file.open_xlsx,
    ".yaml": yaml_file.open_yaml,
    ".yml": yaml_file.open_yaml,
}
_BEGIN = {
    **dict.fromkeys((".yaml", ".yml"), "Write `prompts:` and a list below."),
    **dict.fromkeys((".jsonl", ".ndjson"), 'Write lines like {"prompt": "a red kite"}.'),
}
_WORKS = f"What can be read: {', '.join(_READERS)}; all but .xlsx also with .gz after it."


@dataclass(frozen=True)
class Spec:
    """An opened spec."""

    path: Path
    header: SpecHeader
    _file: AnyFile = field(repr=False)
    skip_invalid: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """The person's own, as written, in their order; of JSON lines those read so far."""
        return self._file.columns

    def rows(self) -> Iterator[SpecRow | BadRow | Problem | Note]:
        """Read the file from its start: rows, problems and notes in file order, streaming.

        Problems of the file's head come first. A row with problems yields them instead of itself,
        or is a BadRow where such rows are to be skipped.
        Raises SpecError where the file can no longer be read. May be called again.
        """
        for checked in self.checked():
            yield from checked.notes
            if self.skip_invalid and checked.bad is not None:
                yield checked.bad()
                continue
            yield from checked.problems
            if checked.row is not None:
                yield checked.row

    def checked(self) -> Iterator[Checked]:
        """As `rows`, one entry for each row of the file, after one for its head."""
        yield Checked(None, self._file.problems, ())
        yield from self._file.checked()


@dataclass(frozen=True, slots=True)
class Report:
    """All there is to say about a file; `rows` counts good and bad ones."""

    rows: int
    problems: list[Problem]
    notes: list[Note]


def open_spec(path: Path, how: Reading = AS_FOUND) -> Spec:
    """Open a spec and read its head. Raises SpecError for what concerns the file as a whole.

    The path `-` is standard input.
    """
    if path != STANDARD_INPUT:
        _refuse_unknown(path, ending(path, Source(str(path), path)))
    source = received(path, how)
    form = ending(path, source)
    if require_file(source.path) == 0:
        mend = _BEGIN.get(form, "Write a line `prompt`, and a prompt below it.")
        name = "standard input" if path == STANDARD_INPUT else path
        raise SpecError(f"{name} is empty", mend=mend, code="empty")
    if form != ".xlsx":
        require_text(source)
    if how.delimiter is not None and _READERS[form] is not csv_file.open_csv:
        raise UsageError(f"{path} is no CSV: it has no delimiter", mend="Leave out --delimiter.")
    file = _READERS[form](source, how)
    return Spec(path, file.header, file, how.skip_invalid)


def validate(path: Path, how: Reading = AS_FOUND) -> Report:
    """Read the whole file and keep every problem and note. Raises SpecError as `open_spec`."""
    report = Report(0, [], [])
    rows = -1  # the head's entry is no row
    for checked in open_spec(path, how).checked():
        rows += 1
        report.problems.extend(checked.problems)
        report.notes.extend(checked.notes)
    return Report(rows, report.problems, report.notes)


def _refuse_unknown(path: Path, form: str) -> None:
    if form in _READERS:
        return
    if path.is_dir() or not path.exists():
        require_file(path)
    kind = f"files ending in {form}" if form else "files without an ending"
    raise SpecError(f"{path}: {kind} cannot be read as specs", mend=_WORKS, code="format")
