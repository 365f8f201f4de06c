"""Which texts may be a row's id."""

from __future__ import annotations

import re

from orchestrator.spec.cells import CellError

MAX_ID = 200
_EXCEL = re.compile(r"\d(?:[.,]\d+)?E\+\d+")


def check_id(text: str) -> None:
    """1 to 200 printable characters, not beginning with `~`. Raises CellError."""
    if _EXCEL.fullmatch(text):
        raise CellError(
            "looks like a long number that Excel shortened; its digits are lost",
            "Format the column as text in Excel, and write the ids again.",
        )
    if text.startswith("~"):
        raise CellError("begins with ~, which marks rows without an id", "Begin it otherwise.")
    if len(text) > MAX_ID:
        raise CellError(
            f"has {len(text):,} characters, at most {MAX_ID} are allowed", "Shorten it."
        )
    if not text.isprintable():
        raise CellError("has a character that cannot be printed", "Remove it.")
