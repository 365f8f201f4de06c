"""The command line as a whole."""

from __future__ import annotations

import json
import logging
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from types import FrameType
from typing import Annotated, NoReturn

import typer

from orchestrator import __version__
from orchestrator.errors import OrchestratorError, SpecError, UsageError

INTERRUPTED = 130
SHOWN_PROBLEMS = 100

COMMANDS = {
    "scaffolding": ("init", "schema"),
    "specs": ("validate", "plan", "submit"),
    "processes": ("run", "up"),
    "batches": ("status", "watch", "history"),
    "results": ("results",),
    "download": ("download",),
    "steering": ("pause", "resume", "cancel", "retry"),
    "mending": ("recover", "reconcile", "resolve"),
    "doctor": ("doctor",),
}
"""Modules of this package, and the commands that each of them registers."""
GROUPS = {
    "batches": "archiving",
    "db": "database",
    "health": "health",
    "journal": "journal",
    "metrics": "metrics",
    "schedule": "schedule",
    "sandbox": "sandbox",
}
"""Commands that have commands of their own, and the modules that hold them."""


def command_line(first: str | None) -> typer.Typer:
    """All commands; or, where `first` names one, its module's alone: the others cost time."""
    app = typer.Typer(
        no_args_is_help=True,
        add_completion=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
        help="Runs spreadsheets of prompts through a paid video API: every video, once, at a known "
        "price.",
        epilog="Example: orchestrator run prompts.csv --budget 50",
    )
    app.callback()(_root)
    modules = [module for module, commands in COMMANDS.items() if first in commands]
    groups = [name for name in GROUPS if name == first]
    whole = not modules and not groups
    for module in COMMANDS if whole else modules:
        import_module(f"orchestrator.cli.{module}").register(app)
    for name in GROUPS if whole else groups:
        app.add_typer(import_module(f"orchestrator.cli.{GROUPS[name]}").app, name=name)
    return app


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"orchestrator {__version__}")
        raise typer.Exit


def _root(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version and end.", callback=_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Options that stand before the command."""


def invoke(arguments: Sequence[str]) -> int:
    """Run one command; returns its exit code. What a person can mend is printed as a sentence."""
    signal.signal(signal.SIGTERM, _interrupt)
    # A command says what it has to say in its own words; records are for processes that stay.
    logging.getLogger("orchestrator").addHandler(logging.NullHandler())
    as_json = "--json" in arguments
    try:
        app = command_line(arguments[0] if arguments else None)
        result = typer.main.get_command(app).main(
            args=list(arguments), prog_name="orchestrator", standalone_mode=False
        )
    except OrchestratorError as error:
        report(error, as_json=as_json)
        return error.exit_code
    except (typer.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except typer.TyperException as error:
        return _usage(error, as_json=as_json)
    return result if isinstance(result, int) else 0


def _interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
    """SIGTERM means the same as Ctrl-C: let go in order."""
    raise KeyboardInterrupt


def _usage(error: typer.TyperException, *, as_json: bool) -> int:
    message = error.format_message().replace("Value error, ", "")
    if message.startswith("Usage:"):  # A group without a command: this is its help.
        print(message, file=sys.stderr)
        return UsageError.exit_code
    context = getattr(error, "ctx", None)
    path = "orchestrator" if context is None else context.command_path
    report(UsageError(message, mend=f"`{path} --help` shows what it takes."), as_json=as_json)
    return UsageError.exit_code


def report(error: OrchestratorError, *, as_json: bool) -> None:
    """What went wrong and how to mend it, on stderr."""
    if as_json:
        print(json.dumps(error.as_json(), ensure_ascii=False), file=sys.stderr)
        return
    if isinstance(error, SpecError):
        if [problem.mend for problem in error.problems] == [error.mend]:
            print(f"error: {error.problems[0]}", file=sys.stderr)
            return
        for problem in error.problems[:SHOWN_PROBLEMS]:
            print(problem, file=sys.stderr)
        if len(error.problems) > SHOWN_PROBLEMS:
            more = len(error.problems) - SHOWN_PROBLEMS
            print(f"… and {more:,} more (all of them with --json)", file=sys.stderr)
    print(f"error: {error.message}", file=sys.stderr)
    print(f"  {error.mend}", file=sys.stderr)
