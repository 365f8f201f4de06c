"""A batch as one page to look at: no server, no network but for the videos."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from urllib.parse import quote

from orchestrator.domain.money import to_usd
from orchestrator.domain.results import prompt_of
from orchestrator.domain.states import TERMINAL, State
from orchestrator.services.status import BatchStatus
from orchestrator.store.views import Result

_MARK = "__DATA__"


def page(
    now: BatchStatus,
    failures: Iterable[tuple[str, str, str, int]],
    results: Iterable[Result],
    folder: Path,
) -> Iterator[str]:
    """The page's text in pieces; videos saved on this machine are named relative to `folder`."""
    before, after = (
        files("orchestrator.services").joinpath("page.html").read_text("utf-8").split(_MARK)
    )
    yield before
    yield _embedded(_head(now, failures))[:-1] + ',"rows":['
    for number, result in enumerate(results):
        yield ("," if number else "") + _embedded(_row(now, result, folder))
    yield "]}" + after


def _embedded(value: object) -> str:
    """JSON that no text in it can end or escape from, inside a script element."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _head(now: BatchStatus, failures: Iterable[tuple[str, str, str, int]]) -> dict[str, object]:
    batch = now.batch
    totals = [
        ("videos", f"{now.counts[State.SUCCEEDED]:,} of {now.total:,}"),
        ("cost", _usd(now.cost_nanos)),
        ("held", _usd(batch.held_nanos)) if batch.held_nanos else None,
        ("budget", _usd(batch.budget_nanos)) if batch.budget_nanos is not None else None,
        ("begun", _moment(batch.created_at)),
        ("finished", _moment(batch.finished_at)) if batch.finished_at else None,
    ]
    return {
        "title": batch.title,
        "state": now.state,
        "totals": [total for total in totals if total is not None],
        "causes": [
            {
                "state": state,
                "code": code,
                "message": message,
                "number": number,
                "mend": now.failure_mend(code),
            }
            for state, code, message, number in failures
        ],
    }


def _row(now: BatchStatus, result: Result, folder: Path) -> dict[str, object]:
    local = _beside(result.video_path, folder)
    # A provider's text becomes a link only if it leads to the web.
    links = [url for url in result.video_urls if url.startswith(("https://", "http://"))]
    if local is not None:
        links[:1] = [local]
    failed = result.state in TERMINAL and result.state is not State.SUCCEEDED
    costs = [cost for cost in (result.actual_nanos, result.assumed_nanos) if cost is not None]
    return {
        "position": result.position,
        "key": result.row_key,
        "state": result.state,
        "person": result.needs_person,
        "code": result.error_code or "",
        "reason": result.error_message or result.error_code or "",
        "mend": now.failure_mend(result.error_code or result.state) if failed else "",
        "cost": _usd(sum(costs)) if costs else "",
        "prompt": prompt_of(result.source),
        "inputs": result.source,
        "video": next(iter(links), ""),
        "links": links,
    }


def _beside(path: str | None, folder: Path) -> str | None:
    """A saved file as the page's own link; None where it is not on this machine."""
    if path is None or not Path(path).is_file():
        return None
    return quote(os.path.relpath(path, folder).replace(os.sep, "/"))


def _moment(time_ms: int) -> str:
    return f"{datetime.fromtimestamp(time_ms / 1000, UTC):%Y-%m-%d %H:%M} UTC"


def _usd(nanos: int) -> str:
    return f"${to_usd(nanos)}"
