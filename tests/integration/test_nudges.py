"""What is recorded is dispatched at once: who nudges, who hears it, and what if nobody does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from celery import Celery

from orchestrator import nudges, places
from orchestrator.settings import Settings, load_settings
from tests.support.installation import Installation
from tests.support.valkey import Valkey, short_directory, valkey_server
from workers.beat import SigningScheduler
from workers.config import DISPATCH, TICKS, configuration

LONG = 60.0
"""Seconds that no test waits for."""


@pytest.fixture
def place() -> Iterator[Path]:
    with short_directory() as made:
        yield made


@pytest.fixture
def server(place: Path) -> Iterator[Valkey]:
    with valkey_server(place) as running:
        yield running


@pytest.fixture
def settings(tmp_path: Path, server: Valkey, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """This process's own, as a beat finds them."""
    places.create_data_dir(tmp_path)
    monkeypatch.setenv("ORCHESTRATOR_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("ORCHESTRATOR_BROKER_URL", server.broker_url)
    return load_settings()


@pytest.fixture
def spec(tmp_path: Path) -> str:
    (tmp_path / "a.csv").write_text("prompt\na\n")
    return "a.csv"


def here(folder: Path, broker: str) -> Installation:
    return Installation(folder, "http://127.0.0.1:9", {"ORCHESTRATOR_BROKER_URL": broker})


@pytest.fixture
def listener(settings: Settings) -> Iterator[nudges.Listener]:
    made = nudges.Listener(settings)
    assert not made.wait(0.1)
    yield made
    made.close()


def test_nudges_end_the_wait_and_several_are_one(
    settings: Settings, listener: nudges.Listener
) -> None:
    for _ in range(3):
        nudges.give(settings)
    assert listener.wait(LONG)
    assert not listener.wait(0.1)


def test_a_broker_that_goes_and_comes_back(
    settings: Settings, listener: nudges.Listener, server: Valkey, place: Path
) -> None:
    server.kill()
    nudges.give(settings)
    assert not listener.wait(0.1)
    with valkey_server(place):
        assert not listener.wait(0.1)
        nudges.give(settings)
        assert listener.wait(LONG)


def test_a_beat_that_hears_one_sends_for_dispatch(settings: Settings, server: Valkey) -> None:
    app = Celery("beating", set_as_current=False)
    app.conf.update(configuration(settings) | {"beat_schedule": {}})
    beat = SigningScheduler(app, lazy=True, schedule_filename=str(settings.data_dir / "beat"))
    beat.setup_schedule()
    beat.max_interval = 0.1
    beat.tick()
    beat.max_interval = LONG
    nudges.give(settings)
    beat.tick()
    beat.close()
    with redis.Redis.from_url(server.url) as client:
        (message,) = client.lrange(TICKS, 0, -1)
    headers = json.loads(message)["headers"]
    assert headers["task"] == DISPATCH
    assert headers["nudged"] is True


def test_a_submit_nudges(
    tmp_path: Path, settings: Settings, listener: nudges.Listener, spec: str
) -> None:
    person = here(tmp_path, settings.broker_url)
    assert person.call("submit", spec).returncode == 0
    assert listener.wait(LONG)
    assert person.call("submit", spec).returncode == 0
    assert not listener.wait(0.1), "nothing new"


def test_a_resume_nudges_and_a_pause_does_not(
    tmp_path: Path, settings: Settings, listener: nudges.Listener, spec: str
) -> None:
    person = here(tmp_path, settings.broker_url)
    assert person.call("submit", spec).returncode == 0
    assert listener.wait(LONG)
    assert person.call("pause", "a").returncode == 0
    assert not listener.wait(0.1)
    assert person.call("resume", "a").returncode == 0
    assert listener.wait(LONG)


def test_a_submit_without_a_broker_is_recorded_all_the_same(tmp_path: Path, spec: str) -> None:
    person = here(tmp_path, "redis://127.0.0.1:9/0")
    assert "a@default" in person.call("submit", spec).stdout
