"""Did you mean …?"""

from __future__ import annotations

from collections.abc import Iterable

from rapidfuzz import process
from rapidfuzz.distance import OSA

_LIKENESS = 0.6
"""Of 1: `promt` and `prompts` find `prompt`, `notes` finds nothing."""
_BEGINNING = 3
"""Letters after which the beginning of a name stands for it: `image`, `cfg`."""


def suggestion(word: str, options: Iterable[str]) -> str | None:
    """The option that `word` most likely stands for, or None; ties go to the first."""
    folded = word.strip().casefold().replace(" ", "_")
    known = list(options)
    found = process.extractOne(
        folded, known, scorer=OSA.normalized_similarity, score_cutoff=_LIKENESS
    )
    if found is not None:
        return found[0]
    longer = (name for name in known if len(folded) >= _BEGINNING and name.startswith(folded))
    return next(longer, None)
