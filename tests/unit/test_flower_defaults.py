"""What Flower is given where nobody told it otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.settings import Settings, load_settings
from workers.flower import protect

START = ["celery", "-A", "workers", "flower"]


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.chdir(tmp_path)
    return load_settings(ORCHESTRATOR_DATA_DIR=tmp_path)


def test_it_listens_on_loopback_behind_a_password_and_remembers(settings: Settings) -> None:
    environment: dict[str, str] = {}
    login = protect(START, environment, settings)
    assert environment["FLOWER_ADDRESS"] == "127.0.0.1"
    assert environment["FLOWER_BASIC_AUTH"] == login
    assert environment["FLOWER_DB"] == str(settings.data_dir / "flower.db")
    assert protect(START, {}, settings) != login


def test_it_is_given_the_settings(settings: Settings) -> None:
    told = load_settings(FLOWER_BASIC_AUTH="me:secret", ORCHESTRATOR_FLOWER_PORT=5999)
    environment: dict[str, str] = {}
    assert protect(START, environment, told) is None
    assert environment["FLOWER_BASIC_AUTH"] == "me:secret"
    assert environment["FLOWER_PORT"] == "5999"


def test_what_was_said_stands(settings: Settings) -> None:
    said = {"FLOWER_BASIC_AUTH": "me:secret", "FLOWER_PERSISTENT": "false"}
    environment = dict(said)
    arguments = [*START, "--address=0.0.0.0", "--tasks-columns=name", "--port=80"]
    assert protect(arguments, environment, settings) is None
    assert environment == said
    assert protect([*START, "--auth=.*@example.com"], {}, settings) is None


def test_other_commands_are_left_alone(settings: Settings) -> None:
    environment: dict[str, str] = {}
    assert protect(["celery", "-A", "workers", "worker"], environment, settings) is None
    assert environment == {}
