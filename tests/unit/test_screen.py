"""What a person can copy from the screen, however narrow it is."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from orchestrator.cli.output import put
from orchestrator.cli.screen import batches_table, results_lines
from orchestrator.domain.states import State
from orchestrator.store.views import Result

URL = "https://cdn.example.com/a/very/long/path/that/does/not/fit/task_3f88021964e6e7cefbc7.mp4"
REASON = "the prompt was refused by the moderation of the provider"


def result(position: int, key: str, state: State, **values: object) -> Result:
    absent = dict.fromkeys(Result.__dataclass_fields__)
    given = {"position": position, "row_key": key, "state": state, "source": {}, "video_urls": ()}
    return Result(**(absent | given | values))  # type: ignore[arg-type]


def shown(*results: Result, width: int) -> list[str]:
    target = io.StringIO()
    put(Console(file=target, width=width), results_lines(results))
    return [line.rstrip() for line in target.getvalue().splitlines()]


@pytest.mark.parametrize("width", [40, 80, 200])
def test_a_url_is_never_broken(width: int) -> None:
    lines = shown(result(1, "r1", State.SUCCEEDED, video_urls=(URL,)), width=width)
    assert any(line.endswith(URL) for line in lines)


def test_a_reason_wraps_between_words() -> None:
    lines = shown(result(1, "r1", State.FAILED, error_message=REASON), width=50)
    assert " ".join(" ".join(lines[1:]).split()).endswith(REASON)
    assert max(map(len, lines)) <= 50


def test_a_row_without_an_id_is_told_by_its_prompt() -> None:
    prompt = "夜の雨の中を走る車 " * 5
    lines = shown(
        result(1, "~07c9e91e60dcaeaaba66.1", State.PENDING, source={"prompt": prompt}),
        result(2, "~c6992caf788ab90b0d0b.1", State.PENDING, source={"prompt": "a kite"}),
        width=80,
    )
    assert "夜の雨" in lines[1]
    assert "~07c" not in lines[1]
    assert "a kite" in lines[2]


def test_a_batchs_title_can_be_copied_from_a_narrow_terminal() -> None:
    title = "nightly@2026-11-23T18:26Z"
    batch = SimpleNamespace(title=title, budget_nanos=5_000_000_000, held_nanos=0)
    now = SimpleNamespace(
        batch=batch,
        state="finished",
        done=4,
        total=4,
        unsuccessful=0,
        needs_person=0,
        cost_nanos=165_600_000,
    )
    target = io.StringIO()
    put(Console(file=target, width=72), [batches_table([now])])  # type: ignore[list-item]
    assert title in target.getvalue()
