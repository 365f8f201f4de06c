"""Results as rows of the contract's columns."""

from __future__ import annotations

import re
from collections.abc import Sequence

from orchestrator.domain.money import to_usd_or_none
from orchestrator.domain.results import COLUMNS, NOT_OWN, REUSED_FROM
from orchestrator.store.views import Result


def as_json(result: Result, own_columns: Sequence[str]) -> dict[str, object]:
    """The contract's keys in their order, then the spec's own columns as they were written."""
    own = {name: result.source.get(name, "") for name in own_columns if name not in NOT_OWN}
    return {
        "position": result.position,
        "row_key": result.row_key,
        "state": str(result.state),
        "needs_person": result.needs_person,
        "task_id": result.task_id,
        "request_id": result.request_id,
        "idempotency_key": result.idempotency_key,
        "generation": result.generation,
        "cost_estimate": to_usd_or_none(result.estimate_nanos),
        "cost_actual": to_usd_or_none(result.actual_nanos),
        "cost_assumed": to_usd_or_none(result.assumed_nanos),
        "video_urls": list(result.video_urls),
        "video_path": result.video_path,
        "error_code": result.error_code,
        "error_message": result.error_message,
        **own,
        **({} if result.reused_from is None else {REUSED_FROM: result.reused_from}),
    }


def as_cells(result: Result, own_columns: Sequence[str], columns: Sequence[str]) -> list[str]:
    """These columns for CSV: absent values empty, URLs separated by spaces."""
    values = as_json(result, own_columns)
    values["video_urls"] = " ".join(result.video_urls)
    return ["" if (value := values.get(name)) is None else str(value) for name in columns]


def header(own_columns: Sequence[str], *, reused: bool = False) -> list[str]:
    """`reused`: rows of this batch took earlier results over."""
    own = [name for name in own_columns if name not in NOT_OWN]
    return [*COLUMNS, *own, *([REUSED_FROM] if reused else [])]


_NUMBER = re.compile(r"[+-]?\d+([.,]\d+)?([eE][+-]?\d+)?")


def no_formula(cell: str) -> str:
    """A cell that a spreadsheet shows as it is: what it would compute gets an apostrophe before it.

    After the advice of OWASP on CSV injection; numbers stay numbers.
    """
    if cell[:1] in {"=", "+", "-", "@", "\t", "\r"} and not _NUMBER.fullmatch(cell):
        return f"'{cell}"
    return cell
