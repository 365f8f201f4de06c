"""Taking a spec in from the command line: the question before, the account after."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator import nudges
from orchestrator.cli import rejecting
from orchestrator.cli.output import (
    about,
    ask,
    can_answer,
    console,
    emit,
    on_terminal,
    plural,
    print_json,
    say,
)
from orchestrator.cli.reading import ReadingBar
from orchestrator.domain.account import DEFAULT
from orchestrator.domain.canary import UNTOLD, Pace
from orchestrator.errors import ConfigError, UsageError
from orchestrator.runtime import Runtime
from orchestrator.services import finishing, intake, saved_plan, status
from orchestrator.services.intake import Declined, Options, Proposal, Taken
from orchestrator.services.saved_plan import SavedPlan
from orchestrator.spec import AS_FOUND, STANDARD_INPUT, Reading, Spec
from orchestrator.store import batches
from orchestrator.store.batches import Batch


@dataclass(frozen=True, slots=True)
class Wishes:
    """The options of submit and run, as typed; the budget in nano-dollars."""

    name: str | None
    label: str | None
    budget_nanos: int | None
    max_price_nanos: int | None
    append: bool
    prune: bool
    keep_removed: bool
    resend_changed: bool
    how: Reading = AS_FOUND
    rejects: Path | None = None
    pace: Pace = UNTOLD
    prices: Path | None = None
    reuse: bool = False
    account: str | None = None
    saves: bool = False
    """Whether --download says where the videos go."""
    plan: SavedPlan | None = None
    """What was planned: submitting does just that, or nothing."""


def as_planned(path: Path, wishes: Wishes) -> tuple[Path, Wishes]:
    """A plan's spec and options in place of the plan; anything else as it is.

    Raises UsageError where an option was typed that the plan has decided, or where the plan no
    longer holds, SpecError for a file that is no plan.
    """
    if path.suffix != saved_plan.SUFFIX:
        return path, wishes
    typed = (wishes.name, wishes.label, wishes.budget_nanos, wishes.prices)
    if any(value is not None for value in typed) or wishes.reuse or wishes.how != AS_FOUND:
        raise UsageError(
            f"{path} has decided --name, --label, --budget, --prices, --reuse and how the spec "
            "is read",
            mend="Leave these options out, or plan again with them.",
        )
    plan = saved_plan.read(path)
    decided = replace(
        wishes,
        name=plan.name,
        label=plan.label,
        budget_nanos=plan.budget_nanos,
        how=plan.how,
        reuse=plan.reuse,
        prices=None if plan.prices is None else Path(plan.prices),
        plan=plan,
    )
    return Path(plan.spec), decided


def take(
    runtime: Runtime, path: Path, wishes: Wishes, *, yes: bool, json: bool, starts: bool = False
) -> Taken | None:
    """Record the spec; None where the person said no.

    `starts`: this command starts the processes that send, so whatever keeps them from sending is
    said before anything is recorded, and so is what else they will send.
    """
    path, wishes = as_planned(path, wishes)
    if wishes.prune and wishes.keep_removed:
        raise UsageError(
            "--prune withdraws the rows that --keep-removed leaves in", mend="Give one of the two."
        )
    _say_where(runtime)

    def options(spec: Spec) -> Options:
        name, label = intake.default_options(path, spec, wishes.name, wishes.label)
        known = _known(runtime, name, label)
        budget, new = wishes.budget_nanos, known is None
        account = wishes.account or (spec.header.account if new else None)
        download = _beside(path, spec.header.download)
        _check_account(runtime, account or (known.account if known else DEFAULT), starts=starts)
        if starts:
            _look_ahead(runtime, f"{name}@{label}", None if wishes.saves else download)
        return Options(
            name,
            label,
            spec.header.budget_nanos if budget is None and new else budget,
            append=wishes.append,
            prune=wishes.prune,
            keep_removed=wishes.keep_removed,
            resend_changed=wishes.resend_changed,
            retries=spec.header.retries,
            max_price_nanos=wishes.max_price_nanos,
            pace=wishes.pace.over(spec.header.pace) if new else wishes.pace,
            prices=wishes.prices,
            reuse=wishes.reuse or spec.header.reuse,
            account=account,
            deadline=spec.header.deadline,
            download=download,
        )

    bar = ReadingBar(path, silent=json)
    reading = True

    def confirm(proposal: Proposal) -> bool:
        nonlocal reading
        reading = False
        bar.stop()
        return _confirm(runtime, proposal, wishes, yes, starts)

    try:
        with rejecting.rejects(wishes.rejects, path):
            taken = intake.take_in(
                runtime.context,
                path,
                options=options,
                confirm=confirm,
                progress=bar,
                how=wishes.how,
            )
    except Declined:
        say("nothing was recorded and nothing will be sent")
        return None
    except KeyboardInterrupt:
        bar.stop()
        if reading:
            say(f"{path} was not read to its end: nothing of it was recorded")
        raise
    finally:
        bar.stop()
    try:
        rejecting.write(wishes.rejects, taken.skipped)
    except UsageError as error:
        # What is recorded is not undone: whoever reads "bad usage" would submit it again.
        say(f"note: {error.message}; the batch was recorded all the same")
    _pass_on(runtime, taken)
    return taken


def _pass_on(runtime: Runtime, taken: Taken) -> None:
    if taken.difference.to_send:
        nudges.give(runtime.settings)
    elif taken.difference.reused:
        # Perhaps nothing is left to wait for, and no worker runs that would notice.
        finishing.run_once(runtime.context)


def _confirm(runtime: Runtime, proposal: Proposal, wishes: Wishes, yes: bool, starts: bool) -> bool:
    """Whether to go on: a plan still holds, and the person who can be asked says yes."""
    if wishes.plan is not None:
        wishes.plan.refuse_changed(proposal)
    for note in (*proposal.notes, *proposal.remarks):
        say(f"note: {note}")
    if proposal.difference.to_send == 0:
        return True
    if starts:
        from orchestrator.cli import starting

        starting.check_reachable(runtime.settings)
    if yes or not can_answer():
        return True
    _summarise(proposal)
    most = wishes.pace.limit
    bound = f", no more than {most:,} of the batch's rows in all" if most else ""
    rows = plural(proposal.difference.to_send, "new row")
    return ask(f"Send {rows}, {about(proposal.cost)}{bound}?")


def _look_ahead(runtime: Runtime, title: str, download: str | None) -> None:
    """What else will be sent, and whether videos can be saved, before anything is recorded."""
    from orchestrator.cli import saving, starting

    if download is not None:
        saving.check_place(runtime, download)
    starting.say_what_else_is_sent(runtime, besides=title)


def _beside(path: Path, download: str | None) -> str | None:
    """A spec's folder for videos begins where the spec is."""
    if download is None or "://" in download or path == STANDARD_INPUT:
        return download
    return str(path.parent / download)


def _say_where(runtime: Runtime) -> None:
    for sentence in runtime.settings.strangers():
        say(f"note: {sentence}")
    if runtime.new_data_dir:
        say(f"made {runtime.settings.data_dir}: batches submitted from here live there")


def _known(runtime: Runtime, name: str, label: str) -> Batch | None:
    """The batch; a spec's own budget, pace and account count when it is made, not later."""
    with runtime.context.store.read() as tx:
        found = batches.find(tx, name, label)
    return None if found is None or found.published_at is None else found


def _check_account(runtime: Runtime, name: str, *, starts: bool) -> None:
    """Whether its key is here: needed by who sends, told to who records. Raises ConfigError."""
    accounts = runtime.settings.accounts
    if accounts.named(name) is not None or not (starts or accounts or name != DEFAULT):
        return
    try:
        runtime.settings.require_account(name)
    except ConfigError as missing:
        if starts:
            raise
        say(f"note: {missing.message}; its rows wait. {missing.mend}")


def _summarise(proposal: Proposal) -> None:
    difference = proposal.difference
    parts = {
        "new": difference.added,
        "known": difference.known,
        "changed": difference.changed,
        "removed": difference.removed,
        "invalid": difference.invalid,
        "reused": difference.reused,
    }
    line = " · ".join(f"{what} {number:,}" for what, number in parts.items() if number)
    say(f"{proposal.title}: {plural(proposal.rows, 'row')} ({line})")


def as_json(runtime: Runtime, taken: Taken) -> dict[str, object]:
    """The contract's shape: the batch's status and what the submit changed."""
    with runtime.context.store.read() as tx:
        now = status.read(tx, runtime.context, batches.get(tx, taken.batch.id))
    difference = taken.difference
    return now.as_json() | {
        "key_version": taken.batch.key_version,
        "added": difference.added + difference.changed - difference.changed_sent,
        "known": difference.known,
        "changed": difference.changed,
        "removed": difference.removed,
        "withdrawn": taken.withdrawn,
        "invalid": difference.invalid,
    }


def print_taken(runtime: Runtime, taken: Taken, *, json: bool) -> None:
    if json:
        print_json(as_json(runtime, taken))
        return
    if not on_terminal():
        emit("submitted", **as_json(runtime, taken))
        return
    difference = taken.difference
    counted = {
        "added": difference.added,
        "known": difference.known,
        "changed": difference.changed,
        "removed": difference.removed,
        "withdrawn": taken.withdrawn,
        "invalid": difference.invalid,
        "reused": difference.reused,
    }
    line = " · ".join(f"{what} {number:,}" for what, number in counted.items() if number)
    title = f"[bold]{taken.batch.title}[/bold]"
    console().print(f"{title} (key version {taken.batch.key_version}): {line}")
    if difference.changed_sent:
        changed = plural(difference.changed_sent, "changed row")
        say(f"note: {changed} had been sent already; --resend-changed buys the new version too")
