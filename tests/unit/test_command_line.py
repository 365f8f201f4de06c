"""One command costs the import of its own module; whoever asks for all is shown all."""

from __future__ import annotations

from typing import Any

import pytest
from typer.main import get_group

from orchestrator.cli.app import COMMANDS, GROUPS, command_line

NAMED = [command for commands in COMMANDS.values() for command in commands]


@pytest.fixture(scope="module")
def every() -> dict[str, Any]:
    return dict(get_group(command_line(None)).commands)


def test_the_table_names_every_command_that_the_modules_register(every: dict[str, Any]) -> None:
    # `batches` is a group whose module is not the one of that name.
    assert sorted(every) == sorted([*NAMED, *GROUPS])


@pytest.mark.parametrize("first", [*NAMED, *GROUPS])
def test_a_command_alone_is_the_same_as_among_all(first: str, every: dict[str, Any]) -> None:
    alone = get_group(command_line(first)).commands
    assert set(alone) <= set(every)
    assert len(alone) < len(every)
    assert alone[first].help == every[first].help
    assert [each.opts for each in alone[first].params] == [
        each.opts for each in every[first].params
    ]


@pytest.mark.parametrize("first", [None, "--help", "valdate"])
def test_what_names_no_command_gets_all(first: str | None, every: dict[str, Any]) -> None:
    assert set(get_group(command_line(first)).commands) == set(every)
