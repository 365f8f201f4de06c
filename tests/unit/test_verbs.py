"""What all tasks have in common, on an app of the test's own."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery

from orchestrator import places
from orchestrator.errors import ServiceError
from orchestrator.settings import load_settings
from workers import verbs
from workers.config import TICK_SECONDS, configuration
from workers.verbs import Tick, Verb

NAME = "workers.finish"


@pytest.fixture
def ran() -> Iterator[list[int]]:
    yield []
    for known in (verbs._ran, verbs._heard, verbs._said):
        known.clear()


@pytest.fixture
def tick(ran: list[int]) -> Tick:
    app = Celery("ticking", set_as_current=False)

    @app.task(base=Tick, name=NAME)
    def finish() -> int:
        ran.append(1)
        return 1

    return finish


def test_a_pile_of_old_ticks_is_one_tick(tick: Tick, ran: list[int]) -> None:
    assert [tick() for _ in range(1000)] == [1, *[None] * 999]
    verbs._ran[NAME] -= TICK_SECONDS[NAME]
    assert tick() == 1
    assert len(ran) == 2


def test_a_tick_that_was_nudged_is_not_passed_over(tick: Tick, ran: list[int]) -> None:
    for headers in ({}, {"nudged": True}, {}):
        tick.push_request(**headers)
        tick()
        tick.pop_request()
    assert len(ran) == 2


def test_a_beat_is_heard_even_where_its_tick_is_passed_over(tick: Tick) -> None:
    for origin in ("gen1@a", "gen2@b"):
        tick.push_request(origin=origin)
        tick()
        tick.pop_request()
    assert verbs.beats_heard(60) == {"gen1@a", "gen2@b"}
    assert verbs.beats_heard(-1) == set()


def test_no_message_of_a_tick_depends_on_two_clocks(tmp_path: Path) -> None:
    places.create_data_dir(tmp_path)
    made = configuration(load_settings(ORCHESTRATOR_DATA_DIR=tmp_path))
    entries = made["beat_schedule"]
    assert isinstance(entries, dict)
    assert entries.keys() == TICK_SECONDS.keys()
    for entry in entries.values():
        assert not {"expires", "eta", "countdown"} & entry["options"].keys()


def test_what_passes_is_said_once_in_a_line(
    ran: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    app = Celery("failing", set_as_current=False)

    @app.task(base=Verb, name="workers.fails")
    def fails() -> None:
        raise ServiceError("the database is away", mend="Wait.", code="database")

    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            fails.apply()
    (line,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert line.getMessage() == "workers.fails: the database is away. Wait."
    assert line.exc_info is None
