"""The columns of results, before the person's own; a CSV of them is a spec too."""

from __future__ import annotations

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
