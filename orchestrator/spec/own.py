"""The person's own columns: read by nobody here, given back in results as they were written."""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache

from orchestrator.domain.models import models, suggestion
from orchestrator.domain.results import NOT_OWN
from orchestrator.spec.cells import CellError
from orchestrator.spec.templates import folded

MARK = "x_"
MAX_NAME = 200
_FIRST = ("prompt", "id", "model")


@lru_cache(maxsize=1)
def known_columns() -> tuple[str, ...]:
    """Every column that means something, the most used first."""
    fields = [field.name for model in models().values() for field in model.fields]
    return tuple(dict.fromkeys((*_FIRST, *fields)))


@lru_cache(maxsize=1024)
def is_own(name: str, keep: frozenset[str]) -> bool:
    """Whether a column is the person's own: it begins with `x_`, or `keep` (folded) lists it."""
    plain = folded(name)
    return (plain.startswith(MARK) and plain != MARK) or plain in keep


def check_kept(name: str) -> str:
    """The folded name of a column to keep. Raises CellError for one that means something else."""
    plain = folded(name)
    if not plain or len(plain) > MAX_NAME or not plain.isprintable():
        raise CellError("is no name of a column", "Write a column's name, such as sku.")
    if plain in known_columns():
        raise CellError("is a field that is kept anyway", "Leave it out of keep.")
    if plain in NOT_OWN:
        raise CellError("is the name of a column of results", f"Rename it, to {MARK}{plain} say.")
    return plain


def check_own_text(text: str) -> None:
    """Raises CellError for text that no database and no file can hold."""
    if "\0" in text:
        raise CellError("has a NUL character", "Remove it.")
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError:
        raise CellError("has half of a surrogate pair", "Remove the broken character.") from None


def mend_unknown(name: str, known: Collection[str]) -> str:
    """Did you mean …, or how to keep it."""
    meant = suggestion(name, known)
    return (
        f'Did you mean "{meant}"?'
        if meant
        else f"Remove the column, or keep it: begin its name with {MARK}, or give --keep."
        f" Known ones: {', '.join(known)}."
    )
