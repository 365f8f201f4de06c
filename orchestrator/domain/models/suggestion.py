"""Did you mean …?"""

from __future__ import annotations

from collections.abc import Iterable

from rapidfuzz import fuzz, process

_LIKENESS = 65
"""Of 100: `promt` and `prompts` find `prompt`, `notes` finds nothing."""


def suggestion(word: str, options: Iterable[str]) -> str | None:
    """The option that a person who wrote `word` most likely meant, or None."""
    found = process.extractOne(
        word.strip().casefold(), list(options), scorer=fuzz.ratio, score_cutoff=_LIKENESS
    )
    return None if found is None else found[0]
