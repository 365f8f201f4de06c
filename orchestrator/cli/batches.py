"""batches, status, watch, results, history: looking at what is there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.options import BatchName, Json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.store.views import HistoryLine, Purchase, Result


class Format(StrEnum):
    TABLE = "table"
    CSV = "csv"
    JSONL = "jsonl"
    JSON = "json"


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: orchestrator batches --json")(batches)
    app.command(epilog="Example: orchestrator status launch@default --json")(status)
    app.command(epilog="Example: orchestrator watch launch")(watch)
    app.command(epilog="Example: orchestrator results launch --format csv -o results.csv")(results)
    app.command(epilog="Example: orchestrator history launch rain-01")(history)


def batches(json: Json = False) -> int:
    """List every batch, newest first."""
    from orchestrator.cli import screen
    from orchestrator.cli.output import console, print_json
    from orchestrator.runtime import open_runtime
    from orchestrator.services import status as status_verb
    from orchestrator.store import batches as store

    runtime = open_runtime(create=False)
    with runtime.context.store.read() as tx:
        found = [status_verb.read(tx, runtime.context, batch) for batch in store.all_batches(tx)]
    if json:
        print_json([one.as_json() for one in found])
    elif found:
        console().print(screen.batches_table(found))
    else:
        print("no batches yet: `orchestrator run SPEC` makes one")
    return 0


def status(batch: BatchName, json: Json = False) -> int:
    """Show how a batch is doing now."""
    from orchestrator.cli import following, screen
    from orchestrator.cli.finding import find_batch
    from orchestrator.cli.output import console, print_json
    from orchestrator.runtime import open_runtime

    runtime = open_runtime(create=False)
    found = find_batch(runtime.context, batch)
    now = following.read(runtime, found)
    if json:
        print_json(now.as_json())
    else:
        console().print(screen.batch_screen(now, following.failures(runtime, found)))
    return 0


def watch(
    batch: BatchName,
    exit_status: Annotated[
        bool, typer.Option("--exit-status", help="End with the batch's own exit code.")
    ] = False,
) -> int:
    """Follow a batch until it ends; NDJSON off a terminal."""
    from orchestrator.cli import following
    from orchestrator.cli.finding import find_batch
    from orchestrator.runtime import open_runtime

    runtime = open_runtime(create=False)
    code = following.watch(runtime, find_batch(runtime.context, batch))
    return code if exit_status else 0


def results(
    batch: BatchName,
    form: Annotated[
        Format | None, typer.Option("--format", help="Default: a table on a terminal, else csv.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write to this file.")
    ] = None,
    failed: Annotated[
        bool, typer.Option("--failed", help="Only items that have not succeeded.")
    ] = False,
    json: Json = False,
) -> int:
    """Print every item with its state, URLs, cost and, where it failed, why."""
    from orchestrator.cli.finding import find_batch
    from orchestrator.cli.output import on_terminal, plural, say
    from orchestrator.runtime import open_runtime
    from orchestrator.store import views

    runtime = open_runtime(create=False)
    found = find_batch(runtime.context, batch)
    chosen = form or (Format.JSON if json else None)
    if chosen is None:
        chosen = Format.TABLE if on_terminal() and output is None else Format.CSV
    written = 0

    def counted(rows: Iterable[Result]) -> Iterator[Result]:
        nonlocal written
        for row in rows:
            written += 1
            yield row

    with runtime.context.store.read() as tx, _target(output) as target:
        rows = counted(views.results(tx, found.id, failed_only=failed))
        _write(rows, chosen, found.columns, target)
    if output is not None:
        say(f"wrote {plural(written, 'row')} to {output}")
    return 0


@contextmanager
def _target(output: Path | None) -> Iterator[IO[str]]:
    """Standard output, or a file that appears only when it is whole. Raises UsageError."""
    import os
    import sys

    from orchestrator.errors import UsageError

    if output is None:
        yield sys.stdout
        return
    draft = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        with draft.open("w", encoding="utf-8", newline="") as target:
            yield target
        draft.replace(output)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise UsageError(
            f"{output} cannot be written: {error.strerror}", mend="Choose another file with -o."
        ) from None


def _write(rows: Iterable[Result], form: Format, columns: Sequence[str], target: IO[str]) -> None:
    import csv
    import json

    from orchestrator.cli import screen
    from orchestrator.cli.output import console
    from orchestrator.cli.rows import as_cells, as_json, header

    match form:
        case Format.TABLE:
            console().print(screen.results_table(list(rows)))
        case Format.CSV:
            writer = csv.writer(target, lineterminator="\n")
            writer.writerow(header(columns))
            writer.writerows(as_cells(row, columns) for row in rows)
        case Format.JSONL:
            for row in rows:
                target.write(json.dumps(as_json(row, columns), ensure_ascii=False) + "\n")
        case Format.JSON:
            separator = "["
            for row in rows:
                text = json.dumps(as_json(row, columns), ensure_ascii=False)
                target.write(f"{separator}{text}")
                separator = ",\n"
            target.write("[]\n" if separator == "[" else "]\n")


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
    from orchestrator.cli.output import dollars

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
    print(f"  cost over {len(purchases)} purchases: {dollars(total)}")
