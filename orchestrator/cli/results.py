"""results: every item of a batch, as a table or for other programs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from enum import StrEnum
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.options import BatchName, Json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.runtime import Runtime
    from orchestrator.store.batches import Batch
    from orchestrator.store.views import Choice, Result


class Format(StrEnum):
    TABLE = "table"
    CSV = "csv"
    JSONL = "jsonl"
    JSON = "json"


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: orchestrator results launch --format csv -o results.csv")(results)


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
    where: Annotated[
        list[str] | None,
        typer.Option("--where", metavar="state=…", help="Only this state or code; repeatable."),
    ] = None,
    columns: Annotated[
        str | None, typer.Option("--columns", metavar="A,B", help="Only these columns.")
    ] = None,
    spreadsheet_safe: Annotated[
        bool,
        typer.Option(
            "--spreadsheet-safe", help="CSV in which no cell is taken for a formula (' before it)."
        ),
    ] = False,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="DIR", help="Write a page to look at: DIR/index.html."),
    ] = None,
    json: Json = False,
) -> int:
    """Print every item with its state, URLs, cost and, where it failed, why."""
    from orchestrator.cli.finding import find_batch
    from orchestrator.cli.output import on_terminal, plural, say
    from orchestrator.errors import UsageError
    from orchestrator.runtime import open_runtime
    from orchestrator.store import reuse, views

    runtime = open_runtime(create=False)
    found = find_batch(runtime.context, batch)
    chosen_form = form is not None or json
    chosen = form or (Format.JSON if json else None)
    if chosen is None:
        chosen = Format.TABLE if on_terminal() and output is None else Format.CSV
    written = 0

    def counted(rows: Iterable[Result]) -> Iterator[Result]:
        nonlocal written
        for row in rows:
            written += 1
            yield row

    choice = _choice(where or [], failed=failed)
    if found.archived_at is not None:
        say(
            f"{found.title} is archived: the rows' own columns, video URLs and messages were let "
            "go; states, costs, keys and task ids are as they were"
        )
    if html is not None:
        if output is not None or columns is not None or chosen_form:
            raise UsageError(
                "--html writes a page: it takes no --output, --format, --columns or --json",
                mend="Leave them out, or give two commands.",
            )
        _write_page(runtime, found, choice, html)
        return 0
    with runtime.context.store.read() as tx:
        reused = reuse.count(tx, found.id) > 0
    shown = _shown(columns, found.columns, reused=reused)
    if spreadsheet_safe and chosen is not Format.CSV:
        raise UsageError("--spreadsheet-safe is for CSV", mend="Add --format csv, or leave it out.")
    with runtime.context.store.read() as tx, _target(output) as target:
        rows = counted(views.results(tx, found.id, choice))
        _write(rows, chosen, found.columns, shown, target, safe=spreadsheet_safe)
    if output is not None:
        say(f"wrote {plural(written, 'row')} to {output}")
    return 0


def _write_page(runtime: Runtime, batch: Batch, choice: Choice, folder: Path) -> None:
    from orchestrator.cli import following
    from orchestrator.cli.output import say
    from orchestrator.errors import UsageError
    from orchestrator.services.exporting import page
    from orchestrator.store import views

    now = following.read(runtime, batch)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"{folder} cannot be written: {error.strerror}", mend="Choose another with --html."
        ) from None
    file = folder / "index.html"
    failures = following.failures(runtime, batch)
    with runtime.context.store.read() as tx, _target(file) as target:
        rows = views.results(tx, batch.id, choice)
        target.writelines(page(now, failures, rows, folder))
    say(f"wrote {file}")


def _target(output: Path | None) -> AbstractContextManager[IO[str]]:
    """Standard output, or a file. Raises UsageError."""
    import sys

    from orchestrator.cli import files_out

    return nullcontext(sys.stdout) if output is None else files_out.written(output, "-o")


def _write(
    rows: Iterable[Result],
    form: Format,
    own: Sequence[str],
    columns: Sequence[str],
    target: IO[str],
    *,
    safe: bool,
) -> None:
    import json

    from orchestrator.cli import screen
    from orchestrator.cli.csv_out import csv_writer
    from orchestrator.cli.output import show
    from orchestrator.cli.rows import as_cells, as_json, no_formula

    def shape(row: Result) -> str:
        whole = as_json(row, own)
        return json.dumps({name: whole.get(name) for name in columns}, ensure_ascii=False)

    match form:
        case Format.TABLE:
            show(*screen.results_lines(list(rows)))
        case Format.CSV:
            writer = csv_writer(target)
            write = no_formula if safe else str
            writer.writerow(map(write, columns))
            writer.writerows(map(write, as_cells(row, own, columns)) for row in rows)
        case Format.JSONL:
            for row in rows:
                target.write(shape(row) + "\n")
        case Format.JSON:
            separator = "["
            for row in rows:
                target.write(f"{separator}{shape(row)}")
                separator = ",\n"
            target.write("[]\n" if separator == "[" else "]\n")


def _choice(where: Sequence[str], *, failed: bool) -> Choice:
    """What `--failed` and `--where state=…`, `--where code=…` ask for. Raises UsageError."""
    from orchestrator.domain.states import State
    from orchestrator.errors import UsageError
    from orchestrator.store.views import Choice

    states: list[str] = []
    codes: list[str] = []
    for text in where:
        name, _, value = text.partition("=")
        values = [part for part in value.split(",") if part]
        if name not in {"state", "code"} or not values:
            raise UsageError(
                f"--where {text!r} is not a condition that results knows",
                mend="Write --where state=failed, or --where code=moderation.",
            )
        (states if name == "state" else codes).extend(values)
    unknown = [state for state in states if state not in set(State)]
    if unknown:
        raise UsageError(
            f"there is no state {unknown[0]!r}", mend=f"The states are {', '.join(State)}."
        )
    return Choice(failed, tuple(states), tuple(codes))


def _shown(columns: str | None, own: Sequence[str], *, reused: bool) -> list[str]:
    """The columns to print, in the order asked for. Raises UsageError for one that is not there."""
    from orchestrator.cli.rows import header
    from orchestrator.domain.models import suggestion
    from orchestrator.errors import UsageError

    known = header(own, reused=reused)
    if columns is None:
        return known
    wanted = [name.strip() for name in columns.split(",") if name.strip()]
    for name in wanted:
        if name not in known:
            meant = suggestion(name, known)
            mend = f"Did you mean {meant}?" if meant else f"There are {', '.join(known)}."
            raise UsageError(f"there is no column {name!r}", mend=mend)
    return wanted
