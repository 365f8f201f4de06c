"""The front of the package: which reader a file needs, and its rows as one stream."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.errors import Problem, SpecError
from orchestrator.spec import csv_file, yaml_file
from orchestrator.spec.entries import Checked, Note, SpecHeader, SpecRow
from orchestrator.spec.files import require_file, require_text

_READERS: dict[str, Callable[[Path], csv_file.CsvFile | yaml_file.YamlFile]] = {
    ".csv": csv_file.open_csv,
    ".tsv": csv_file.open_csv,
    ".txt": csv_file.open_csv,
    ".yaml": yaml_file.open_yaml,
    ".yml": yaml_file.open_yaml,
}
_LATER = {
    ".jsonl": "JSON lines",
    ".ndjson": "JSON lines",
    ".xlsx": "Excel workbooks",
    ".gz": "compressed files",
}
_WORKS = "Works now: .csv, .tsv and .txt (UTF-8, with , ; or tab), .yaml and .yml."


@dataclass(frozen=True)
class Spec:
    """An opened spec. `columns`: the person's own, as written, in their order."""

    path: Path
    header: SpecHeader
    columns: tuple[str, ...]
    _file: csv_file.CsvFile | yaml_file.YamlFile = field(repr=False)

    def rows(self) -> Iterator[SpecRow | Problem | Note]:
        """Read the file from its start: rows, problems and notes in file order, streaming.

        Problems of the file's head come first. A row with problems yields them instead of itself.
        Raises SpecError where the file can no longer be read. May be called again.
        """
        for checked in self.checked():
            yield from checked.notes
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


def open_spec(path: Path) -> Spec:
    """Open a spec and read its head. Raises SpecError for what concerns the file as a whole."""
    reader = _reader(path)
    if require_file(path) == 0:
        raise SpecError(
            f"{path} is empty", mend="Write a line `prompt`, and a prompt below it.", code="empty"
        )
    require_text(path)
    file = reader(path)
    return Spec(path, file.header, file.columns, file)


def validate(path: Path) -> Report:
    """Read the whole file and keep every problem and note. Raises SpecError as `open_spec`."""
    report = Report(0, [], [])
    rows = -1  # the head's entry is no row
    for checked in open_spec(path).checked():
        rows += 1
        report.problems.extend(checked.problems)
        report.notes.extend(checked.notes)
    return Report(rows, report.problems, report.notes)


def _reader(path: Path) -> Callable[[Path], csv_file.CsvFile | yaml_file.YamlFile]:
    suffix = path.suffix.lower()
    if str(path) == "-":
        raise SpecError(
            "specs cannot be read from standard input yet", mend=f"Save it as a file. {_WORKS}"
        )
    if suffix in _LATER:
        raise SpecError(f"{path}: {_LATER[suffix]} cannot be read yet", mend=_WORKS, code="format")
    reader = _READERS.get(suffix)
    if reader is None:
        if path.is_dir() or not path.exists():
            require_file(path)
        kind = f"files ending in {suffix}" if suffix else "files without an ending"
        raise SpecError(f"{path}: {kind} cannot be read as specs", mend=_WORKS, code="format")
    return reader
