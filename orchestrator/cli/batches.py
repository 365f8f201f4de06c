"""status, watch, history, and the list of all batches: looking at what is there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.options import BatchName, BatchOrNone, Json

if TYPE_CHECKING:
    from orchestrator.store.views import HistoryLine, Purchase, Result


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: orchestrator status launch@default --json")(status)
    app.command(epilog="Example: orchestrator watch launch")(watch)
    app.command(epilog="Example: orchestrator history launch rain-01")(history)


def batches(json: Json = False) -> int:
    """List every batch, newest first."""
    from orchestrator.cli import screen
    from orchestrator.cli.output import print_json, show
    from orchestrator.runtime import open_runtime
    from orchestrator.services import status as status_verb
    from orchestrator.store import batches as store

    runtime = open_runtime(create=False)
    with runtime.context.store.read() as tx:
        found = [status_verb.read(tx, runtime.context, batch) for batch in store.all_batches(tx)]
    if json:
        print_json([one.as_json() for one in found])
    elif found:
        show(screen.batches_table(found))
    else:
        print("no batches yet: `orchestrator run SPEC` makes one")
    return 0


def status(batch: BatchName, json: Json = False) -> int:
    """Show how a batch is doing now."""
    from orchestrator.cli import following, screen
    from orchestrator.cli.finding import find_batch
    from orchestrator.cli.output import print_json, show
    from orchestrator.runtime import open_runtime

    runtime = open_runtime(create=False)
    found = find_batch(runtime.context, batch)
    now = following.read(runtime, found)
    if json:
        print_json(now.as_json())
    else:
        show(screen.batch_screen(now, following.failures(runtime, found)))
        following.say_if_idle(now)
    return 0


def watch(
    batch: BatchOrNone = None,
    every: Annotated[bool, typer.Option("--all", help="Follow every open batch.")] = False,
    exit_status: Annotated[
        bool, typer.Option("--exit-status", help="End with the batch's own exit code.")
    ] = False,
    json: Json = False,
) -> int:
    """Follow a batch, or all of them, to the end; NDJSON with --json and off a terminal."""
    from orchestrator.cli import following
    from orchestrator.cli.finding import find_batch
    from orchestrator.errors import UsageError
    from orchestrator.runtime import open_runtime

    if every == (batch is not None):
        raise UsageError("watch needs a batch, or --all", mend="Write one of the two.")
    runtime = open_runtime(create=False)
    if batch is None:
        code = following.watch_all(runtime, json=json)
    else:
        code = following.watch(runtime, find_batch(runtime.context, batch), json=json)
    return code if exit_status else 0


def history(
    batch: BatchName,
    row: Annotated[str, typer.Argument(metavar="ROW", help="A row key, or a position.")],
    json: Json = False,
) -> int:
    """Show what happened to one row, oldest first."""
    from orchestrator.cli.finding import find_batch
    from orchestrator.cli.output import print_json
    from orchestrator.cli.rows import as_json
    from orchestrator.errors import UsageError
    from orchestrator.runtime import open_runtime
    from orchestrator.store import views

    runtime = open_runtime(create=False)
    found = find_batch(runtime.context, batch)
    with runtime.context.store.read() as tx:
        items = views.result_of(tx, found.id, row)
        if not items and row.isdecimal():
            items = views.result_at(tx, found.id, int(row))
        lines = {item.item_id: views.history_of(tx, item.item_id) for item in items}
        bought = {item.item_id: views.purchases_of(tx, item.item_id) for item in items}
    if not items:
        raise UsageError(
            f"{found.title} has no row {row!r}",
            mend=f"`orchestrator results {found.title}` lists row keys and positions.",
            code="no_row",
        )
    for item in items:
        entries, purchases = lines[item.item_id], bought[item.item_id]
        if json:
            shape = as_json(item, found.columns)
            print_json(
                shape
                | {
                    "history": [_line_json(line) for line in entries],
                    "purchases": [_purchase_json(one) for one in purchases],
                }
            )
        else:
            _print_history(found.title, item, entries)
            _print_purchases(purchases)
    return 0


def _line_json(line: HistoryLine) -> dict[str, object]:
    from dataclasses import asdict

    from orchestrator.services.status import iso

    return asdict(line) | {"at": iso(line.at)}


def _print_history(title: str, item: Result, entries: Sequence[HistoryLine]) -> None:
    from orchestrator.services.status import iso

    print(f"{title} row {item.position} {item.row_key}: {item.state}")
    if item.task_id or item.request_id:
        print(f"  task {item.task_id or '-'}  request {item.request_id or '-'}")
    for line in entries:
        generation = "" if line.generation is None else f" g{line.generation}"
        print(f"  {iso(line.at)}  {line.event}{generation}  {line.detail or ''}  ({line.actor})")


def _purchase_json(one: Purchase) -> dict[str, object]:
    import json

    from orchestrator.domain.money import to_usd, to_usd_or_none

    return {
        "generation": one.generation,
        "state": one.state,
        "idempotency_key": one.idempotency_key,
        "task_id": one.task_id,
        "cost_estimate": to_usd_or_none(one.estimate_nanos),
        "held": to_usd(one.hold_nanos),
        "cost_actual": to_usd_or_none(one.actual_nanos),
        "cost_assumed": to_usd_or_none(one.assumed_nanos),
        "provider_events": None if one.events_json is None else json.loads(one.events_json),
    }


def _print_purchases(purchases: Sequence[Purchase]) -> None:
    """Each cent over all generations, and what the provider told of a failure."""
    from orchestrator.cli.output import dollars, plural

    total = 0
    for one in purchases:
        parts = [f"estimate {dollars(one.estimate_nanos)}"]
        if one.hold_nanos:
            parts.append(f"held {dollars(one.hold_nanos)}")
        if one.actual_nanos is not None:
            parts.append(f"cost {dollars(one.actual_nanos)}")
        if one.assumed_nanos is not None:
            parts.append(f"cost assumed {dollars(one.assumed_nanos)}")
        total += (one.actual_nanos or 0) + (one.assumed_nanos or 0)
        print(f"  purchase g{one.generation} {one.state}: {', '.join(parts)}")
        if one.events_json:
            print(f"    provider: {one.events_json[:1000]}")
    print(f"  cost over {plural(len(purchases), 'purchase')}: {dollars(total)}")
