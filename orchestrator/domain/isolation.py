"""Finding the row that kills its worker: rows that were in a dying chunk go on in smaller ones."""

from __future__ import annotations

FEW = 7


def chunk_limit(size: int, lapses: int) -> int:
    """How many rows may share a chunk when each has seen its worker die `lapses` times."""
    if lapses == 0:
        return size
    return min(size, FEW) if lapses == 1 else 1
