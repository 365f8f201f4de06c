"""Writing CSV that every reader reads back byte for byte."""

from __future__ import annotations

import csv
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from _csv import Writer


def csv_writer(target: IO[str]) -> Writer:
    """Rows end with LF; a cell with a lone CR is quoted too, which csv itself does from 3.13 on."""
    return csv.writer(_Lines(target), lineterminator="\r\n")


class _Lines:
    def __init__(self, target: IO[str]) -> None:
        self._target = target

    def write(self, row: str) -> int:
        return self._target.write(row.removesuffix("\r\n") + "\n")
