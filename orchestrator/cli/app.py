"""The command line as a whole."""

from __future__ import annotations

import json
import logging
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import Annotated, NoReturn

import typer

from orchestrator import __version__
from orchestrator.cli import (
    archiving,
    batches,
    database,
    doctor,
    download,
    health,
    journal,
    mending,
    metrics,
    processes,
    results,
    sandbox,
    scaffolding,
    schedule,
    specs,
    steering,
)
from orchestrator.errors import OrchestratorError, SpecError, UsageError

INTERRUPTED = 130
SHOWN_PROBLEMS = 100

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
for part in (
    scaffolding,
    specs,
    processes,
    batches,
    results,
    download,
    steering,
    mending,
    doctor,
):
    part.register(app)
app.add_typer(archiving.app, name="batches")
app.add_typer(database.app, name="db")
app.add_typer(health.app, name="health")
app.add_typer(journal.app, name="journal")
app.add_typer(metrics.app, name="metrics")
app.add_typer(schedule.app, name="schedule")
app.add_typer(sandbox.app, name="sandbox")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"orchestrator {__version__}")
        raise typer.Exit


@app.callback()
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
