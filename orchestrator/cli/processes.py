"""run and up: the commands that have processes of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.options import (
    AccountName,
    Append,
    Budget,
    CanaryCost,
    CanaryDeadline,
    CanaryFailures,
    CanaryRows,
    Delimiter,
    Encoding,
    Json,
    Keep,
    KeepRemoved,
    Label,
    Limit,
    MaxPrice,
    Name,
    Prices,
    Priority,
    Prune,
    Rejects,
    ResendChanged,
    Reuse,
    SkipInvalid,
    SpecPath,
    Yes,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from rich.console import Console

    from orchestrator.cli.saving import Beside
    from orchestrator.runtime import Runtime
    from orchestrator.services.status import BatchStatus
    from orchestrator.store.batches import Batch
    from orchestrator.supervisor import Session

FEW_ROWS = 40


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: orchestrator run prompts.csv --budget 50 --yes")(run)
    app.command(epilog="Example: orchestrator up")(up)


def run(
    spec: SpecPath,
    name: Name = None,
    label: Label = None,
    budget: Budget = None,
    max_price: MaxPrice = None,
    limit: Limit = None,
    canary: CanaryRows = None,
    canary_failures: CanaryFailures = None,
    canary_cost: CanaryCost = None,
    canary_deadline: CanaryDeadline = None,
    priority: Priority = None,
    account: AccountName = None,
    prices: Prices = None,
    yes: Yes = False,
    append: Append = False,
    prune: Prune = False,
    keep_removed: KeepRemoved = False,
    resend_changed: ResendChanged = False,
    reuse: Reuse = False,
    download: Annotated[
        str | None,
        typer.Option("--download", metavar="DIR", help="Save each video as soon as it is there."),
    ] = None,
    encoding: Encoding = None,
    delimiter: Delimiter = None,
    keep: Keep = None,
    skip_invalid: SkipInvalid = False,
    rejects: Rejects = None,
    json: Json = False,
) -> int:
    """Record a spec, send it, stay to the end, print results and cost."""
    from orchestrator.cli import following, saving, starting, taking
    from orchestrator.cli.specs import read_account, read_budget, read_how, read_pace
    from orchestrator.runtime import open_runtime

    how = read_how(encoding, delimiter, keep, skip_invalid=skip_invalid)
    pace = read_pace(limit, priority, canary, canary_failures, canary_cost, canary_deadline)
    runtime = open_runtime()
    runtime.settings.require_any_account()
    if download is not None:
        saving.check_place(runtime, download)
    wishes = taking.Wishes(
        name,
        label,
        read_budget(budget),
        read_budget(max_price, "--max-price"),
        append,
        prune,
        keep_removed,
        resend_changed,
        how,
        rejects,
        pace=pace,
        prices=prices,
        reuse=reuse,
        account=read_account(account),
        saves=download is not None,
    )
    taken = taking.take(runtime, spec, wishes, yes=yes, json=json, starts=True)
    if taken is None:
        return 0
    taking.print_taken(runtime, taken, json=json)
    ended = following.read(runtime, taken.batch)
    followed = not ended.settled or ended.gate is not None or ended.batch.stop_code is not None
    if followed and not taken.difference.to_send:
        starting.check_reachable(runtime.settings)
    download = download or taken.download
    with saving.beside(runtime, taken.batch, download) as saver:
        if followed:
            ended = _to_the_end(runtime, taken.batch, spec, saver)
        saved = saver.report() if saver is not None else None
    codes = [ended.exit_code()]
    if saved is not None:
        saving.print_report(taken.batch, saved, str(download), json=False)
        codes.append(saved.exit_code())
    _print_end(runtime, ended, seen=followed)
    _say_other_prices(runtime, taken.difference.price_classes)
    return following.first_of(codes)


def _to_the_end(runtime: Runtime, batch: Batch, spec: Path, saver: Beside | None) -> BatchStatus:
    """Have the processes running until the batch is settled."""
    from dataclasses import replace

    from orchestrator.cli import following, starting
    from orchestrator.cli.output import say
    from orchestrator.services import finishing
    from orchestrator.supervisor import connect

    starting.look_at_gates(runtime.context)
    with _let_go(runtime, batch, spec), connect(runtime.settings) as session:
        try:
            ended = following.follow(
                runtime,
                batch,
                lambda seconds: _pause(session, seconds),
                started=True,
                beside=saver.line if saver is not None else None,
            )
        except KeyboardInterrupt:
            say("\nstopping after the current chunk…")
            raise
    # The tick that closes a batch may not have come before its processes were stopped.
    finishing.run_once(runtime.context)
    return replace(ended, batch=following.read(runtime, batch).batch)


def _pause(session: Session, seconds: float) -> None:
    """Wait, and hear what became of the processes meanwhile."""
    from orchestrator.cli.output import say
    from orchestrator.errors import ServiceError

    for event in session.events(seconds):
        if event["event"] == "gave_up":
            raise ServiceError(
                f"the {event['process']} process ends whenever it is started "
                f"(code {event['code']})",
                mend="Look into its file in the logs/ of the data directory.",
                code="process_fails",
            )
        if event["event"] == "restarted":
            say(f"note: {event['process']} ended (code {event['code']}) and was started again")


class _let_go:  # noqa: N801 reads as a verb in `with`
    """On Ctrl-C: after the processes have stopped, say what is in flight and what goes on."""

    def __init__(self, runtime: Runtime, batch: Batch, spec: Path) -> None:
        self._runtime = runtime
        self._batch = batch
        self._spec = spec

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None or not issubclass(kind, KeyboardInterrupt):
            return
        from orchestrator.cli import following
        from orchestrator.cli.output import dollars, say

        now = following.read(self._runtime, self._batch)
        names = ""
        if (now.batch.name, now.batch.label) != (self._spec.stem, "default"):
            names = f" --name {now.batch.name} --label {now.batch.label}"
        say(
            f"{now.done:,} of {now.total:,} done, {dollars(now.cost_nanos)} spent, "
            f"{dollars(now.batch.held_nanos)} in flight"
        )
        say(
            f"go on with: orchestrator run {self._spec}{names} (or `orchestrator up`); "
            "nothing is paid twice"
        )


def _say_other_prices(runtime: Runtime, sent: Iterable[str]) -> None:
    """Where the provider asks something else than the price file says."""
    from orchestrator.cli.output import say
    from orchestrator.services.pricing import disagreements
    from orchestrator.store import prices

    with runtime.context.store.read() as tx:
        book = prices.book(tx, runtime.context.provider)
    for sentence in disagreements(book, sent):
        say(f"note: {sentence}")


def _print_end(runtime: Runtime, ended: BatchStatus, *, seen: bool) -> None:
    """Few rows: each with its URL. Then the cost; causes and mends where no screen told them."""
    from orchestrator.cli import following, screen
    from orchestrator.cli.output import console, dollars, emit, on_terminal, show
    from orchestrator.cli.rows import as_json
    from orchestrator.store import views

    few = []
    if ended.total <= FEW_ROWS:
        with runtime.context.store.read() as tx:
            few = list(views.results(tx, ended.batch.id))
    title = ended.batch.title
    if not on_terminal():
        for result in few:
            emit("result", batch=title, **as_json(result, ended.batch.columns))
        emit("ended", **ended.as_json())
        return
    out = console()
    if few:
        show(*screen.results_lines(few), "")
    if not seen:
        for state, code, message, number in following.failures(runtime, ended.batch):
            out.print(f"  {number:,} {state} ({code}) {message}", style="red", markup=False)
    if not few:
        out.print(f"  all of them: orchestrator results {title} --format csv -o results.csv")
    out.print(
        f"[bold]{title}[/bold]: {ended.counts_line()} · cost {dollars(ended.cost_nanos)}"
        + (f" · in flight {dollars(ended.batch.held_nanos)}" if ended.batch.held_nanos else "")
    )
    if not seen:
        _print_mends(out, ended)


def _print_mends(out: Console, ended: BatchStatus) -> None:
    """Whatever keeps the batch from its end, and what makes it go on."""
    if ended.gate is not None:
        out.print(f"{ended.gate.message}. {ended.gate.mend}", style="yellow", markup=False)
    elif ended.batch.stop_message:
        out.print(f"{ended.batch.stop_message}. {ended.stop_mend()}", style="yellow", markup=False)
    for code, number in ended.waiting.items():
        out.print(f"{number:,} need a person ({code}). {ended.person_mend(code)}", style="yellow")
    if (mend := ended.wanted_mend()) is not None:
        out.print(f"{ended.batch.title} is {ended.state}. {mend}", style="yellow", markup=False)


def up(
    flower: Annotated[
        bool, typer.Option("--flower/--no-flower", help="Start Flower too (default: yes).")
    ] = True,
    json: Json = False,
) -> int:
    """Start broker, worker, beat and Flower; stay until Ctrl-C."""
    from orchestrator.cli import starting
    from orchestrator.cli.output import emit, on_terminal, say
    from orchestrator.runtime import open_runtime
    from orchestrator.supervisor import connect

    runtime = open_runtime()
    runtime.settings.require_any_account()
    if runtime.new_data_dir:
        say(f"made {runtime.settings.data_dir}: batches submitted from here live there")
    starting.check_own_servers(runtime.settings)
    starting.say_what_else_is_sent(runtime)
    starting.look_at_gates(runtime.context)
    with connect(runtime.settings, flower=flower) as session:
        shown = session.flower
        if json or not on_terminal():
            emit("up", pids=session.pids, flower=shown or {})
        else:
            print(f"workers are running for {runtime.settings.data_dir}")
            if shown is not None:
                print(f"Flower: {shown['url']} (log in as {shown['credentials']})")
            print("Ctrl-C stops them after the current chunk")
        try:
            while True:
                _pause(session, 3600)
        except KeyboardInterrupt:
            say("\nstopping after the current chunk…")
            raise
