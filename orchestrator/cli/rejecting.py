"""--rejects: every problem of a spec in a file, for whoever mends it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from orchestrator.cli.csv_out import csv_writer
from orchestrator.errors import Problem, SpecError, UsageError

COLUMNS = Problem._fields


@contextmanager
def rejects(target: Path | None, spec: Path) -> Iterator[list[Problem]]:
    """Write what a SpecError tells into `target`, and let it pass; without one, what was listed.

    Raises UsageError where the file cannot be written, or is the spec itself.
    """
    if target is not None and spec.exists() and target.exists() and target.samefile(spec):
        raise UsageError(f"--rejects {target} is the spec itself", mend="Name another file.")
    listed: list[Problem] = []
    try:
        yield listed
    except SpecError as error:
        write(target, error.problems or [file_problem(spec, error)])
        raise
    write(target, listed)


def write(target: Path | None, problems: Sequence[Problem]) -> None:
    """CSV, or JSON lines where the name ends so; the file appears when it is whole."""
    if target is None:
        return
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with draft.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
            shapes = [problem.as_json() for problem in problems]
            if target.suffix.lower() in {".jsonl", ".ndjson"}:
                file.writelines(f"{json.dumps(shape, ensure_ascii=False)}\n" for shape in shapes)
            else:
                writer = csv_writer(file)
                writer.writerow(COLUMNS)
                writer.writerows(shape.values() for shape in shapes)
        draft.replace(target)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise UsageError(
            f"--rejects {target} cannot be written: {error.strerror}", mend="Name another file."
        ) from None


def file_problem(path: Path, error: SpecError) -> Problem:
    """A problem of the file as a whole, in the shape of one with a place."""
    return Problem(str(path), 1, 1, None, None, error.message, error.mend)
