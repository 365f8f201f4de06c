"""Finding the row that kills its worker: rows that were in a dying chunk go on in smaller ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

Row = TypeVar("Row")

FEW = 7


def chunk_limit(size: int, lapses: int) -> int:
    """How many rows may share a chunk when each has seen its worker die `lapses` times."""
    if lapses == 0:
        return size
    return min(size, FEW) if lapses == 1 else 1


def sharing(rows: Sequence[Row], size: int, lapses: Callable[[Row], int]) -> list[Row]:
    """The rows of `rows` that go in one chunk with the first: as many deaths seen, few enough."""
    if not rows:
        return []
    seen = lapses(rows[0])
    return [row for row in rows if lapses(row) == seen][: chunk_limit(size, seen)]
