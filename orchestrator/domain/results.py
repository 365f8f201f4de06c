"""The columns of results, before the person's own; a CSV of them is a spec too."""

from __future__ import annotations

from collections.abc import Mapping

COLUMNS = (
    "position",
    "row_key",
    "state",
    "needs_person",
    "task_id",
    "request_id",
    "idempotency_key",
    "generation",
    "cost_estimate",
    "cost_actual",
    "cost_assumed",
    "video_urls",
    "video_path",
    "error_code",
    "error_message",
)
REUSED_FROM = "reused_from"
"""After the own columns where rows took earlier results: the batch and row they are from."""
NOT_OWN = frozenset({*COLUMNS, REUSED_FROM})


def prompt_of(source: Mapping[str, str]) -> str:
    """The prompt of a row as the person wrote it, however they spelt the column's name; or ""."""
    found = (value for name, value in source.items() if name.strip().casefold() == "prompt")
    return next(found, "")
