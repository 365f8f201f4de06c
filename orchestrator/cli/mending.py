"""recover, reconcile, resolve: after a disaster."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.options import (
    BatchName,
    Delimiter,
    Encoding,
    Json,
    Keep,
    Label,
    Name,
    SkipInvalid,
    SpecPath,
    Yes,
)
from orchestrator.cli.steering import Rows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orchestrator.services.merging import Report as Recovered
    from orchestrator.services.reconciling import Report as Reconciled
    from orchestrator.services.resolving import Report as Resolved
    from orchestrator.services.resolving import Sentence, Waiting


SHOWN = 20
"""Rows that are listed for a person; the machine formats list them all."""


class TableFormat(StrEnum):
    TABLE = "table"
    CSV = "csv"
    JSON = "json"


Journals = Annotated[
    list[Path] | None,
    typer.Option("--journal", metavar="DIR", help="Journals of another machine too."),
]


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: orchestrator recover prompts.csv")(recover)
    app.command(epilog="Example: orchestrator reconcile launch@default --json")(reconcile)
    app.command(epilog="Example: orchestrator resolve launch --row r17 --not-charged")(resolve)


def recover(
    spec: SpecPath,
    name: Name = None,
    label: Label = None,
    journal: Journals = None,
    first_sent_after: Annotated[
        str | None,
        typer.Option(
            "--first-sent-after", metavar="TIME", help="When sending began, without a journal."
        ),
    ] = None,
    encoding: Encoding = None,
    delimiter: Delimiter = None,
    keep: Keep = None,
    skip_invalid: SkipInvalid = False,
    json: Json = False,
) -> int:
    """Rebuild a batch that the database lost, from spec and journal; buys nothing."""
    from orchestrator.cli.output import print_json
    from orchestrator.cli.specs import read_how
    from orchestrator.runtime import open_runtime
    from orchestrator.services import recovery

    how = read_how(encoding, delimiter, keep, skip_invalid=skip_invalid)
    runtime = open_runtime()
    report = recovery.recover(
        runtime.context,
        spec,
        name=name,
        label=label,
        journals=_folders(journal or []),
        first_sent_after=_time(first_sent_after),
        how=how,
    )
    if json:
        print_json(report.as_json())
    else:
        _print_recovered(report)
    return 5 if report.for_person else 0


def _folders(paths: list[Path]) -> list[Path]:
    from orchestrator.errors import UsageError

    for path in paths:
        if not path.is_dir():
            raise UsageError(
                f"there is no journal directory {path}", mend="Give the folder of *.journal files."
            )
    return paths


def _time(text: str | None) -> int | None:
    """A time as ISO 8601, in UTC where it names no zone. Raises UsageError."""
    from datetime import UTC

    from orchestrator.errors import UsageError

    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"--first-sent-after {text!r} is not a time", mend="Write it like 2026-01-31T18:00Z."
        ) from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if moment > datetime.now(UTC):
        raise UsageError(
            f"--first-sent-after {text} is in the future", mend="Give the time of the first submit."
        )
    return round(moment.timestamp() * 1000)


def _print_recovered(report: Recovered) -> None:
    from orchestrator.cli.output import dollars, plural

    title = report.batch.title
    print(f"{title} is back, paused; nothing was bought")
    print(f"  {plural(report.ended, 'purchase')} with their end known from the journal")
    print(f"  {plural(report.by_task, 'purchase')} to be asked about by task id")
    print(f"  {plural(report.by_key, 'purchase')} to be asked again under the same key")
    if report.known:
        print(f"  {plural(report.known, 'purchase')} the database knew already")
    if report.not_in_spec:
        print(f"  {plural(report.not_in_spec, 'purchase')} of rows the spec no longer has")
    if report.for_person:
        print(f"  {plural(report.for_person, 'purchase')} for you to decide: ", end="")
        print(f"orchestrator resolve {title}")
    for damage in report.damage:
        print(f"  damaged: {damage}; rows without a trace are asked again under their own key")
    print(f"  held: {dollars(report.batch.held_nanos)}")
    if report.batch.finished_at is None:
        print(f"go on with: orchestrator resume {title}")


def reconcile(
    batch: BatchName,
    form: Annotated[
        TableFormat, typer.Option("--format", help="table, csv or json.")
    ] = TableFormat.TABLE,
    journal: Journals = None,
    json: Json = False,
) -> int:
    """Ask the provider again for every task; compare states, videos and money."""
    import asyncio

    from orchestrator.cli.finding import find_batch
    from orchestrator.cli.output import on_terminal, print_json, say
    from orchestrator.runtime import make_askers, open_runtime
    from orchestrator.services import reconciling

    runtime = open_runtime(create=False)
    found = find_batch(runtime.context, batch)
    runtime.settings.require_any_account()

    def progress(checked: int) -> None:
        if on_terminal() and checked:
            say(f"asked about {checked:,}")

    async def work() -> Reconciled:
        askers = make_askers(runtime.settings)
        try:
            return await reconciling.reconcile(
                runtime.context,
                askers,
                found,
                journals=[runtime.settings.journal_dir, *_folders(journal or [])],
                progress=progress,
            )
        finally:
            await askers.client.aclose()

    report = asyncio.run(work())
    chosen = TableFormat.JSON if json else form
    if chosen is TableFormat.JSON:
        print_json(report.as_json())
    elif chosen is TableFormat.CSV:
        _write_differences(report)
    else:
        _print_reconciled(report)
    return report.exit_code()


def _write_differences(report: Reconciled) -> None:
    import csv
    import sys

    columns = ["position", "row_key", "generation", "task_id", "kind", "field", "ours", "theirs"]
    writer = csv.DictWriter(sys.stdout, columns)
    writer.writeheader()
    writer.writerows(one.as_json() for one in report.found)


def _print_reconciled(report: Reconciled) -> None:
    from orchestrator.cli.output import dollars, plural

    for one in report.found[:SHOWN]:
        finding = one.finding
        place = f"{one.position:>6} {one.row_key} g{one.generation}"
        print(
            f"{place}  {finding.kind} {finding.field}: {finding.ours} here, {finding.theirs} there"
        )
    if len(report.found) > SHOWN:
        print(f"… and {len(report.found) - SHOWN:,} more (--format csv lists them all)")
    print(
        f"{report.batch.title}: {plural(report.checked, 'task')} asked about, "
        f"{dollars(report.ours)} here, {dollars(report.theirs)} there, "
        f"{plural(len(report.differences), 'difference')}"
    )


def resolve(
    batch: BatchName,
    row: Rows = None,
    task_id: Annotated[
        list[str] | None,
        typer.Option("--task-id", metavar="ROW=ID", help="The provider has this row as task ID."),
    ] = None,
    not_charged: Annotated[
        bool, typer.Option("--not-charged", help="Nothing was charged: send it anew if need be.")
    ] = False,
    charged: Annotated[
        str | None, typer.Option("--charged", metavar="USD", help="This much was charged.")
    ] = None,
    accept_double_charge: Annotated[
        bool,
        typer.Option("--accept-double-charge", help="Buy anew although it may be charged twice."),
    ] = False,
    yes: Yes = False,
    json: Json = False,
) -> int:
    """Settle purchases whose outcome is unknown: asked again, or by your verdict."""
    from orchestrator.cli.finding import find_to_steer
    from orchestrator.cli.output import print_json
    from orchestrator.runtime import make_journal, open_runtime
    from orchestrator.services import resolving

    verdict = _verdict(not_charged=not_charged, charged=charged, twice=accept_double_charge)
    named = _adoptions(task_id or [])
    if named and verdict:
        raise _one_verdict()
    runtime = open_runtime(create=False)
    found = find_to_steer(runtime.context, batch)
    rows = row or []
    if verdict is None and not named:
        report = resolving.ask_again(runtime.context, found, rows)
    else:
        sentences: Mapping[str, Sentence] = named
        if verdict is not None:
            sentences = dict.fromkeys(rows, verdict)
        waiting = resolving.waiting(runtime.context, found, list(sentences))
        if not _agreed(waiting, yes=yes or bool(sentences)):
            return 0
        journal = make_journal(runtime.settings)
        try:
            report = resolving.settle(runtime.context, journal, found, sentences, verdict)
        finally:
            journal.close()
    if json:
        print_json(_resolved_json(found.title, report))
    else:
        _print_resolved(found.title, report)
    return 5 if report.waiting else 0


def _one_verdict() -> Exception:
    from orchestrator.errors import UsageError

    return UsageError(
        "several verdicts were given",
        mend="Give one of --task-id, --not-charged, --charged, --accept-double-charge.",
    )


def _verdict(*, not_charged: bool, charged: str | None, twice: bool) -> Sentence | None:
    from orchestrator.domain.money import AmountError, parse_amount
    from orchestrator.errors import UsageError
    from orchestrator.journal import VerdictKind
    from orchestrator.services.resolving import Sentence

    if sum((not_charged, charged is not None, twice)) > 1:
        raise _one_verdict()
    if not_charged:
        return Sentence(VerdictKind.NOT_CHARGED)
    if twice:
        return Sentence(VerdictKind.DOUBLE_CHARGE_ACCEPTED)
    if charged is None:
        return None
    try:
        return Sentence(VerdictKind.CHARGED, cost=parse_amount(charged.removeprefix("$")))
    except AmountError as error:
        raise UsageError(f"--charged: {error}", mend="Give USD, such as 0.0414.") from None


def _adoptions(texts: Sequence[str]) -> dict[str, Sentence]:
    from orchestrator.errors import UsageError
    from orchestrator.journal import VerdictKind
    from orchestrator.services.resolving import Sentence

    found = {}
    for text in texts:
        row, _, task = text.rpartition("=")
        if not row or not task:
            raise UsageError(
                f"--task-id {text!r} names no row", mend="Write --task-id ROW=ID, such as r17=t_9."
            )
        found[row] = Sentence(VerdictKind.ADOPTED, task_id=task)
    return found


def _agreed(waiting: Sequence[Waiting], *, yes: bool) -> bool:
    from orchestrator.cli.output import ask, can_answer, plural, say

    if yes or not can_answer() or not waiting:
        return True
    if ask(f"Settle all {plural(len(waiting), 'purchase')} that wait this way?"):
        return True
    say("nothing was changed")
    return False


def _resolved_json(title: str, report: Resolved) -> dict[str, object]:
    return {
        "batch": title,
        "asked_again": report.asked_again,
        "settled": report.settled,
        "waiting": [one.as_json() for one in report.waiting],
    }


def _print_resolved(title: str, report: Resolved) -> None:
    from orchestrator.cli.output import dollars, plural
    from orchestrator.services.status import iso

    if report.asked_again:
        print(f"{plural(report.asked_again, 'purchase')} will be asked again under the same key")
    if report.settled:
        print(f"{plural(report.settled, 'purchase')} settled")
    if not report.waiting:
        print(f"{title}: nothing waits for a verdict")
        return
    for one in report.waiting[:SHOWN]:
        life = one.stored.life
        sent = f", first sent {iso(life.first_sent_at)}" if life.first_sent_at else ""
        print(
            f"  {one.position:>6} {one.row_key} g{one.stored.generation} {life.state} "
            f"({life.needs_person or 'unknown'}), {dollars(life.hold_nanos)} held{sent}"
        )
    if len(report.waiting) > SHOWN:
        print(f"  … and {len(report.waiting) - SHOWN:,} more (--json lists them all)")
    print("each takes a verdict, for all or with --row ROW:")
    print("  --task-id ROW=ID        the provider has it as this task")
    print("  --not-charged           nothing was charged; it is sent anew if it never was")
    print("  --charged USD           this was charged; no video is expected any more")
    print("  --accept-double-charge  buy it anew although it may have been charged")
