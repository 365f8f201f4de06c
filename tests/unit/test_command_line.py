"""One command costs the import of its own module; whoever asks for all is shown all."""

from __future__ import annotations

import pytest
from typer.main import get_group

from orchestrator.cli.app import COMMANDS, GROUPS, command_line

ALL = get_group(command_line(None)).commands
NAMED = [command for commands in COMMANDS.values() for command in commands]


def test_the_table_names_every_command_that_the_modules_register() -> None:
    # `batches` is a group whose module is not the one of that name.
    assert sorted(ALL) == sorted([*NAMED, *GROUPS])


@pytest.mark.parametrize("first", [*NAMED, *GROUPS])
def test_a_command_alone_is_the_same_as_among_all(first: str) -> None:
    alone = get_group(command_line(first)).commands
    assert set(alone) <= set(ALL)
    assert len(alone) < len(ALL)
    assert alone[first].help == ALL[first].help
    assert [each.opts for each in alone[first].params] == [each.opts for each in ALL[first].params]


@pytest.mark.parametrize("first", [None, "--help", "valdate"])
def test_what_names_no_command_gets_all(first: str | None) -> None:
    assert set(get_group(command_line(first)).commands) == set(ALL)
