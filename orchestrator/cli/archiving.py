"""batches: the list of all, and `batches archive`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli import batches
from orchestrator.cli.options import BatchOrNone, Json, Yes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.runtime import Runtime
    from orchestrator.services.archiving import Report
    from orchestrator.store.batches import Batch

SHOWN = 20
app = typer.Typer(
    invoke_without_command=True,
    help="List every batch, newest first; or archive old ones.",
    epilog="Example: orchestrator batches --json",
)


@app.callback()
def _all(context: typer.Context, json: Json = False) -> int:
    """List every batch, newest first; or archive old ones."""
    return 0 if context.invoked_subcommand else batches.batches(json)


@app.command(epilog="Example: orchestrator batches archive --older-than 90d --yes")
def archive(
    batch: BatchOrNone = None,
    older_than: Annotated[
        str | None,
        typer.Option(
            "--older-than", metavar="AGE", help="Every batch that ended longer ago: 90d, 12h."
        ),
    ] = None,
    yes: Yes = False,
    json: Json = False,
) -> int:
    """Let go of the bulk of finished batches.

    Keys, states, costs and task ids stay: the same spec is recognised, and every total is as it
    was. The rows' own columns, video URLs, messages and history go, and inputs that no other
    batch has.
    """
    from orchestrator.cli.output import ask, can_answer, print_json, say
    from orchestrator.errors import UsageError
    from orchestrator.runtime import open_runtime
    from orchestrator.services import archiving

    if (batch is None) == (older_than is None):
        raise UsageError("archive needs a batch, or --older-than", mend="Write one of the two.")
    runtime = open_runtime(create=False)
    chosen = _chosen(runtime, batch, older_than)
    for one in chosen[:SHOWN] if not json else ():
        say(f"  {one.title}")
    if not yes and chosen:
        question = f"Archive {_batches(len(chosen))} for good?"
        if not can_answer():
            raise UsageError(question, mend="Say so with --yes.", code="not_confirmed")
        if not ask(question):
            return 0
    report = archiving.run(runtime.context, chosen)
    if json:
        print_json(report.as_json())
    else:
        print(_sentence(report))
    return 0


def _chosen(runtime: Runtime, batch: str | None, older_than: str | None) -> Sequence[Batch]:
    from orchestrator.cli.finding import find_batch
    from orchestrator.domain.durations import to_ms
    from orchestrator.errors import UsageError
    from orchestrator.services import archiving

    if batch is not None:
        found = find_batch(runtime.context, batch)
        archiving.check(runtime.context, found)
        return [found]
    try:
        age = to_ms(older_than or "")
    except ValueError as error:
        raise UsageError(f"--older-than: {error}", mend="Write it like 90d or 12h.") from None
    return archiving.old_ones(runtime.context, age)


def _batches(number: int) -> str:
    return f"{number:,} batch{'' if number == 1 else 'es'}"


def _sentence(report: Report) -> str:
    from orchestrator.cli.output import plural

    return (
        f"{_batches(len(report.batches))} archived: {plural(report.rows, 'row')} "
        f"made small; {plural(report.outputs, 'URL')}, {report.history:,} lines of history, "
        f"{plural(report.inputs, 'input')} and {plural(report.images, 'image')} gone"
    )
