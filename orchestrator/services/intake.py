"""Taking a spec in: stream, stage, compare, ask, publish. Nothing is sent before."""

from __future__ import annotations

import socket
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from orchestrator.domain.account import DEFAULT
from orchestrator.domain.batch import NAME, Wanted
from orchestrator.domain.canary import UNTOLD, Pace, Phase
from orchestrator.domain.deadline import Deadline
from orchestrator.domain.identity import KEY_VERSION
from orchestrator.domain.money import to_usd
from orchestrator.errors import (
    OrchestratorError,
    Problem,
    UsageError,
)
from orchestrator.services import admission, deadlines, rejoining, reusing, staging, tracing
from orchestrator.services.context import Context
from orchestrator.services.control import refuse_spent_budget
from orchestrator.services.price_files import PriceFile, price_file
from orchestrator.services.pricing import Estimate, amounts, disagreements, estimate
from orchestrator.services.staging import Read
from orchestrator.spec import (
    AS_FOUND,
    STANDARD_INPUT,
    Note,
    Reading,
    Spec,
    open_spec,
)
from orchestrator.store import batches, canaries, intake, prices
from orchestrator.store.batches import Batch
from orchestrator.store.engine import Tx, uninterrupted
from orchestrator.store.intake import Difference
from orchestrator.store.patience import LONG

LOCK_WAIT_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Options:
    """How a person wants the spec taken in; `budget_nanos` None keeps what the batch has."""

    name: str
    label: str
    budget_nanos: int | None = None
    append: bool = False
    prune: bool = False
    keep_removed: bool = False
    resend_changed: bool = False
    retries: int = 0
    max_price_nanos: int | None = None
    """No row is sent that costs more, or whose price nobody knows; None keeps what there is."""
    pace: Pace = UNTOLD
    prices: Path | None = None
    """A price file; None takes the setting's."""
    reuse: bool = False
    """New rows take identical earlier successes of other batches instead of buying them."""
    wanted: Wanted = Wanted.OPEN
    """What is wanted of a batch that is new; anything but open means that it is being recovered."""
    deadline: Deadline | None = None
    """When nothing new is sent any more; None keeps what there is."""
    download: str | None = None
    """Where the spec wants the videos saved."""
    account: str | None = None
    """With whose key what was never sent will be; None keeps what there is."""
    lock_wait: float = LOCK_WAIT_SECONDS
    """How long another submit of the same batch is waited for."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """What publishing would do, for the question before it is done."""

    title: str
    rows: int
    difference: Difference
    cost: Estimate
    notes: tuple[Note, ...]
    skipped: tuple[Problem, ...]
    """What is wrong with the rows that are only carried along."""
    remarks: tuple[str, ...] = ()
    """What is to be said of prices."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What was recorded."""

    batch: Batch
    difference: Difference
    withdrawn: int
    skipped: tuple[Problem, ...]
    download: str | None = None


class Declined(Exception):  # noqa: N818 a decision, not an error
    """The person said no; nothing was recorded."""


def default_options(path: Path, spec: Spec, name: str | None, label: str | None) -> tuple[str, str]:
    """(name, label): as told, else the spec's own name, else the file's stem; `default`.

    Raises UsageError where nothing names it, or with characters that a name must not have.
    """
    found = name or spec.header.name
    if found is None and path == STANDARD_INPUT:
        raise UsageError("a spec from standard input has no name", mend="Give it one with --name.")
    plain = path.with_suffix("") if path.suffix.lower() == ".gz" else path
    return _check_name(found or plain.stem, "name"), _check_name(label or "default", "label")


def _check_name(value: str, what: str) -> str:
    if not NAME.fullmatch(value):
        raise UsageError(
            f"the {what} {value!r} has characters other than letters, digits and . _ : + -",
            mend=f"Choose another with --{what}.",
        )
    return value


def names_of(
    path: Path, name: str | None, label: str | None, how: Reading = AS_FOUND
) -> tuple[str, str]:
    """(name, label) of the batch that a spec belongs to. Raises SpecError."""
    return default_options(path, open_spec(path, how), name, label)


def take_in(
    context: Context,
    path: Path,
    *,
    options: Callable[[Spec], Options],
    confirm: Callable[[Proposal], bool],
    progress: Callable[[int], None] = lambda _rows: None,
    how: Reading = AS_FOUND,
) -> Taken:
    """Read the whole spec into the store, in one pass, and publish it if `confirm` says so.

    Raises SpecError with every problem of the file, UsageError where the spec does not fit the
    batch, Declined. Whatever is raised, nothing is published.
    """
    began = time.time()
    spec = open_spec(path, how)
    chosen = options(spec)
    listed = price_file(context, chosen.prices)
    recovers = chosen.wanted is not Wanted.OPEN
    if not recovers:
        admission.refuse_forgotten(context, chosen.name, chosen.label)
    token = uuid.uuid4().hex
    batch = _open_batch(context, chosen, token)
    try:
        read = staging.stage(context, spec, batch, token, progress, reuse=chosen.reuse)
        proposal = _compare(context, batch, read, listed, reuse=chosen.reuse)
        admission.refuse_misfits(
            batch,
            proposal.difference,
            rows=read.rows,
            append=chosen.append,
            prune=chosen.prune,
            keep_removed=chosen.keep_removed,
        )
        if chosen.deadline and proposal.difference.to_send and not recovers:
            deadlines.refuse_late(context, batch, chosen.deadline)
        if not confirm(proposal):
            raise Declined  # noqa: TRY301 what was staged is swept below
        if chosen.reuse:
            if not chosen.resend_changed:
                with context.store.write(LONG) as tx:
                    intake.forget_unwanted(tx, batch.id, read.revision_id)
            reusing.write_down(context, batch, read.revision_id, host=socket.gethostname())
        taken = _publish(context, spec, batch, token, read, proposal, chosen, listed)
    except BaseException:
        with context.store.write(LONG) as tx:
            if intake.lock(tx, batch.id, token):
                intake.sweep(tx, batch.id)
                intake.unlock(tx, batch.id, token)
                intake.forget_unpublished(tx, batch.id)
        raise
    rows = proposal.difference.to_send
    tracing.took_in(context, taken.batch, began=began, ended=time.time(), to_send=rows)
    return taken


def _open_batch(context: Context, chosen: Options, token: str) -> Batch:
    """The batch of this name and label, its rows locked for us; made where it is new."""
    deadline = time.monotonic() + chosen.lock_wait
    while True:
        with context.store.write(LONG) as tx:
            batch = batches.find(tx, chosen.name, chosen.label) or batches.create(
                tx,
                name=chosen.name,
                label=chosen.label,
                namespace=context.namespace,
                key_version=KEY_VERSION,
                provider=context.provider,
                budget_nanos=chosen.budget_nanos,
                retries=chosen.retries,
                max_price_nanos=chosen.max_price_nanos,
                wanted=chosen.wanted,
                account=chosen.account or DEFAULT,
            )
            if batch is not None:
                batch = admission.at_home(tx, context, batch)
                if chosen.wanted is Wanted.OPEN:
                    admission.refuse_cancelled(batch)
                if chosen.budget_nanos != batch.budget_nanos:
                    refuse_spent_budget(batch, chosen.budget_nanos)
                if intake.lock(tx, batch.id, token):
                    intake.sweep(tx, batch.id)
                    return batch
        if time.monotonic() > deadline:
            raise OrchestratorError(
                f"another submit of {chosen.name}@{chosen.label} is still being read",
                mend="Wait for it to end, then submit again.",
                code=staging.BUSY,
            )
        time.sleep(0.2)


def _compare(
    context: Context, batch: Batch, read: Read, listed: PriceFile, *, reuse: bool
) -> Proposal:
    with context.store.read(LONG) as tx:
        difference = intake.difference(tx, batch.id, read.revision_id, reuse=reuse)
        book = listed.over(prices.book(tx, context.provider), tx.now)
    cost = estimate(difference.price_classes, amounts(book))
    remarks = tuple(disagreements(book, difference.price_classes))
    return Proposal(batch.title, read.rows, difference, cost, read.notes, read.skipped, remarks)


def _publish(
    context: Context,
    spec: Spec,
    batch: Batch,
    token: str,
    read: Read,
    proposal: Proposal,
    chosen: Options,
    listed: PriceFile,
) -> Taken:
    columns = tuple(dict.fromkeys((*batch.columns, *spec.columns)))
    with uninterrupted(), context.store.write(LONG) as tx:
        staging.keep_lock(tx, batch, token, read.revision_id)
        if chosen.wanted is Wanted.OPEN:
            rejoining.refuse(tx)
        listed.put(tx, context.provider)
        withdrawn = intake.publish(
            tx,
            batch.id,
            read.revision_id,
            rows=proposal.rows,
            columns=columns,
            prune=chosen.prune,
            resend_changed=chosen.resend_changed,
            actor=context.actor,
            reusing=chosen.reuse,
        )
        budget = chosen.budget_nanos
        if budget is not None and budget != batch.budget_nanos:
            detail = f"budget set to {to_usd(budget)} USD"
            batches.set_budget(tx, batch.id, budget, actor=context.actor, detail=detail)
        deadlines.put(tx, batch, chosen.deadline, actor=context.actor)
        most = chosen.max_price_nanos
        if most is not None and most != batch.max_price_nanos:
            batches.set_max_price(tx, batch.id, most, actor=context.actor)
        if chosen.account is not None and chosen.account != batch.account:
            batches.set_account(tx, batch.id, chosen.account, actor=context.actor)
        _set_pace(tx, context, batch, proposal, chosen.pace)
        return Taken(
            batches.get(tx, batch.id),
            proposal.difference,
            withdrawn,
            proposal.skipped,
            chosen.download,
        )


def _set_pace(tx: Tx, context: Context, batch: Batch, proposal: Proposal, pace: Pace) -> None:
    """What is told anew; a canary needs rows that are yet to be sent."""
    limit = pace.limit or None
    if pace.limit is not None and limit != batch.row_limit:
        batches.set_limit(tx, batch.id, limit, actor=context.actor)
    if pace.weight is not None and pace.weight != batch.weight:
        batches.set_weight(tx, batch.id, pace.weight, actor=context.actor)
    trying = batch.canary_phase is Phase.TRYING
    if pace.canary is not None and (trying or proposal.difference.to_send):
        canaries.begin(tx, batch.id, pace.canary, actor=context.actor)
    elif batch.canary is not None and trying:
        canaries.choose(tx, batch.id, batch.canary.rows)
