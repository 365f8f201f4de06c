"""What Flower is given where nobody told it otherwise."""

from __future__ import annotations

from pathlib import Path

from workers.flower import protect

HERE = Path("/data")
START = ["celery", "-A", "workers", "flower"]


def test_it_listens_on_loopback_behind_a_password_and_remembers() -> None:
    environment: dict[str, str] = {}
    password = protect(START, environment, HERE)
    assert environment["FLOWER_ADDRESS"] == "127.0.0.1"
    assert environment["FLOWER_BASIC_AUTH"] == f"admin:{password}"
    assert environment["FLOWER_DB"] == "/data/flower.db"
    other: dict[str, str] = {}
    assert protect(START, other, HERE) != password


def test_what_was_said_stands() -> None:
    environment = {"FLOWER_BASIC_AUTH": "me:secret", "FLOWER_PERSISTENT": "false"}
    arguments = [*START, "--address=0.0.0.0", "--tasks-columns=name"]
    assert protect(arguments, environment, HERE) is None
    assert environment == {"FLOWER_BASIC_AUTH": "me:secret", "FLOWER_PERSISTENT": "false"}
    assert protect([*START, "--auth=.*@example.com"], {}, HERE) is None


def test_other_commands_are_left_alone() -> None:
    environment: dict[str, str] = {}
    assert protect(["celery", "-A", "workers", "worker"], environment, HERE) is None
    assert environment == {}
