"""--rejects: every problem of a spec in a file, for whoever mends it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from orchestrator.cli import files_out
from orchestrator.cli.csv_out import csv_writer
from orchestrator.errors import Problem, SpecError, UsageError

COLUMNS = Problem._fields


@contextmanager
def rejects(target: Path | None, spec: Path) -> Iterator[None]:
    """Write what a SpecError tells into `target`, and let it pass.

    Raises UsageError, before anything else is done, where the file cannot be written or holds
    something else: a spec, its table.
    """
    if target is not None:
        files_out.check(target, "--rejects")
        if spec.exists() and target.exists() and target.samefile(spec):
            raise UsageError(f"--rejects {target} is the spec itself", mend="Name another file.")
        _refuse_other(target)
    try:
        yield
    except SpecError as error:
        write(target, error.problems or [file_problem(spec, error)])
        raise


def _refuse_other(target: Path) -> None:
    """What is written over is an earlier list of problems, or nothing."""
    if not target.is_file():
        return
    with target.open("rb") as file:
        begin = file.read(200)
    lists = (",".join(COLUMNS).encode(), f'{{"{COLUMNS[0]}":'.encode())
    if begin and not begin.startswith(lists):
        raise UsageError(
            f"--rejects {target} holds something else than problems of a spec",
            mend="Name another file, or remove that one.",
        )


def write(target: Path | None, problems: Sequence[Problem]) -> None:
    """CSV, or JSON lines where the name ends so; the file appears when it is whole."""
    if target is None:
        return
    with files_out.written(target, "--rejects", errors="backslashreplace") as file:
        shapes = [problem.as_json() for problem in problems]
        if target.suffix.lower() in {".jsonl", ".ndjson"}:
            file.writelines(f"{json.dumps(shape, ensure_ascii=False)}\n" for shape in shapes)
        else:
            writer = csv_writer(file)
            writer.writerow(COLUMNS)
            writer.writerows(shape.values() for shape in shapes)


def file_problem(path: Path, error: SpecError) -> Problem:
    """A problem of the file as a whole, in the shape of one with a place."""
    return Problem(str(path), 1, 1, None, None, error.message, error.mend)
