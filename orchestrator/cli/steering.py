"""pause, resume, cancel, retry: changing what a batch does."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.options import BatchName, Budget, Json, Yes

if TYPE_CHECKING:
    from orchestrator.journal import JournalWriter
    from orchestrator.runtime import Runtime
    from orchestrator.services.context import Context
    from orchestrator.services.control import Steered
    from orchestrator.store.batches import Batch

Rows = Annotated[
    list[str] | None, typer.Option("--row", metavar="ROW", help="Only this row; may be repeated.")
]


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: orchestrator pause launch@default")(pause)
    app.command(epilog="Example: orchestrator resume launch@default --budget 80")(resume)
    app.command(epilog="Example: orchestrator cancel launch@default")(cancel)
    app.command(epilog="Example: orchestrator retry launch --where code=moderation --yes")(retry)


def pause(batch: BatchName, json: Json = False) -> int:
    """Send nothing more until resume; what was sent is still collected."""
    from orchestrator.services import control

    return _steer(batch, control.pause, "paused", json=json)


def cancel(batch: BatchName, json: Json = False) -> int:
    """Take back what was not sent; what was sent is collected and paid for."""
    from orchestrator.services import control

    return _steer(batch, control.cancel, "cancelled", json=json)


def resume(batch: BatchName, budget: Budget = None, json: Json = False) -> int:
    """Go on with a paused, stopped or cancelled batch, perhaps with another budget."""
    from orchestrator.cli.specs import read_budget
    from orchestrator.services import control

    nanos = read_budget(budget)

    def verb(context: Context, journal: JournalWriter, found: Batch) -> Steered:
        return control.resume(context, journal, found, nanos)

    return _steer(batch, verb, "resumed", json=json)


def _steer(
    name: str, verb: Callable[[Context, JournalWriter, Batch], Steered], done: str, *, json: bool
) -> int:
    from orchestrator.cli.finding import find_to_steer
    from orchestrator.runtime import make_journal, open_runtime

    runtime = open_runtime(create=False)
    journal = make_journal(runtime.settings)
    found = find_to_steer(runtime.context, name)
    try:
        steered = verb(runtime.context, journal, found)
    finally:
        journal.close()
    _end(runtime, steered, done, json=json)
    return 0


def _end(runtime: Runtime, steered: Steered, done: str, *, json: bool) -> None:
    """Have what may be sent now sent at once; say what became of the batch, and its money."""
    from orchestrator import nudges
    from orchestrator.cli import following
    from orchestrator.cli.output import dollars, plural, print_json
    from orchestrator.domain.batch import Wanted

    now = following.read(runtime, steered.batch)
    batch = now.batch
    if batch.wanted is Wanted.OPEN:
        nudges.give(runtime.settings)
    if json:
        print_json(now.as_json() | {"items": steered.items})
        return
    moved = ""
    if steered.items:
        fate = "taken back unsent" if batch.wanted is Wanted.CANCELLED else "waiting to be sent"
        moved = f", {plural(steered.items, 'row')} {fate}"
    print(f"{batch.title} {done}{moved}")
    flying = now.in_flight
    print(f"in flight: {dollars(batch.held_nanos)} for {plural(flying, 'row')}")
    print(f"spent: {dollars(now.cost_nanos)}")
    following.say_if_idle(now)


def retry(
    batch: BatchName,
    where: Annotated[
        list[str] | None,
        typer.Option("--where", metavar="code=…", help="Only rows with this error code or state."),
    ] = None,
    row: Rows = None,
    max_generations: Annotated[
        int | None,
        typer.Option("--max-generations", min=1, help="Most purchases of one row (default 5)."),
    ] = None,
    yes: Yes = False,
    json: Json = False,
) -> int:
    """Buy anew what ended without success: another purchase, under another key."""
    from orchestrator.cli.finding import find_to_steer
    from orchestrator.cli.output import about, ask, can_answer, plural, say
    from orchestrator.runtime import open_runtime
    from orchestrator.services import control

    runtime = open_runtime(create=False)
    found = find_to_steer(runtime.context, batch)
    most = max_generations or control.MAX_GENERATIONS
    plan = control.plan_retry(
        runtime.context, found, codes=_codes(where or []), rows=row or [], max_generations=most
    )
    if plan.spent:
        say(
            f"note: {plural(plan.spent, 'row')} had {most} purchases already; "
            "--max-generations allows more"
        )
    question = f"Buy {plural(len(plan.items), 'row')} anew, {about(plan.cost)}?"
    if plan.items and not yes and can_answer() and not ask(question):
        say("nothing was changed")
        return 0
    steered = control.retry(runtime.context, found, plan)
    if not json and plan.items:
        print(f"added cost: {about(plan.cost)}")
    done = "retried" if plan.items else "has nothing to retry"
    _end(runtime, steered, done, json=json)
    return 0


def _codes(where: list[str]) -> list[str]:
    """The codes of `--where code=A,B`. Raises UsageError."""
    from orchestrator.errors import UsageError

    codes: list[str] = []
    for text in where:
        name, equals, value = text.partition("=")
        if not equals or name not in {"code", "state"} or not value:
            raise UsageError(
                f"--where {text!r} is not a condition that retry knows",
                mend="Write --where code=moderation, or --where state=rejected.",
            )
        codes += value.split(",")
    return codes
