"""How far the reading of a long spec is: a bar with its rate on a terminal, NDJSON off it."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.cli.output import emit, on_terminal

if TYPE_CHECKING:
    from rich.progress import Progress

LONG = 10_000
"""Rows from which on reading takes long enough to be told of."""
EVERY_SECONDS = 1.0
_BLOCK = 1 << 20


class ReadingBar:
    """Called with the rows that were read so far; stops before anything else is said.

    `silent`: what is printed is one JSON document, and no events beside it.
    """

    def __init__(self, path: Path, *, silent: bool) -> None:
        self._path = path
        self._silent = silent
        self._bar: Progress | None = None
        self._told_at = self._began = time.monotonic()

    def __call__(self, rows: int) -> None:
        if rows < LONG:
            return
        if on_terminal() and sys.stderr.isatty():
            self._draw(rows)
        elif not self._silent and time.monotonic() - self._told_at >= EVERY_SECONDS:
            self._told_at = time.monotonic()
            rate = rows / max(self._told_at - self._began, 0.001)
            emit("reading", rows=rows, rows_per_second=round(rate))

    def stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _draw(self, rows: int) -> None:
        if self._bar is None:
            from rich import progress
            from rich.console import Console

            self._bar = progress.Progress(
                progress.TextColumn("reading"),
                progress.BarColumn(),
                progress.TextColumn("{task.fields[text]}"),
                console=Console(stderr=True),
                transient=True,
            )
            self._bar.add_task("", total=lines_of(self._path), text="")
            self._bar.start()
        rate = rows / max(time.monotonic() - self._began, 0.001)
        text = f"{rows:,} rows, {rate:,.0f}/s"
        self._bar.update(self._bar.task_ids[0], completed=rows, text=text)


def lines_of(path: Path) -> int | None:
    """About how many rows the file has; None where its lines say nothing about that."""
    if path.suffix.lower() not in {".csv", ".tsv", ".txt", ".jsonl", ".ndjson"}:
        return None
    lines = 0
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                lines += block.count(b"\n")
    except OSError:
        return None
    return lines
