"""Taking a spec in: stream, stage, compare, ask, publish. Nothing is sent before."""

from __future__ import annotations

import json
import socket
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from orchestrator import journal
from orchestrator.domain.account import DEFAULT
from orchestrator.domain.batch import NAME, Wanted
from orchestrator.domain.canary import UNTOLD, Pace, Phase
from orchestrator.domain.deadline import Deadline
from orchestrator.domain.identity import KEY_VERSION
from orchestrator.domain.money import to_usd
from orchestrator.errors import (
    NeedsPersonError,
    OrchestratorError,
    Problem,
    UsageError,
    too_many_problems,
)
from orchestrator.services import deadlines, rejoining, reusing, tracing
from orchestrator.services.context import Context
from orchestrator.services.control import refuse_spent_budget
from orchestrator.services.price_files import PriceFile, price_file
from orchestrator.services.pricing import Estimate, amounts, disagreements, estimate
from orchestrator.spec import (
    AS_FOUND,
    STANDARD_INPUT,
    BadRow,
    Note,
    Reading,
    Spec,
    SpecRow,
    open_spec,
)
from orchestrator.store import batches, canaries, intake, lineage, lives, prices, restoring
from orchestrator.store.batches import Batch
from orchestrator.store.engine import Tx, uninterrupted
from orchestrator.store.intake import Difference, Staged
from orchestrator.store.patience import LONG

_Entry: TypeAlias = SpecRow | BadRow | Problem | Note
GROUP = 2000
"""Rows per staging transaction: short enough that a running batch beside it keeps recording."""
GROUP_CHARS = 16_000_000
LOCK_WAIT_SECONDS = 60
BUSY = "busy"


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
    _refuse_forgotten(context, chosen)
    token = uuid.uuid4().hex
    batch = _open_batch(context, chosen, token)
    try:
        read = _stage(context, spec, batch, token, progress, reuse=chosen.reuse)
        proposal = _compare(context, batch, read, listed, reuse=chosen.reuse)
        _refuse_misfits(batch, proposal, chosen)
        if chosen.deadline and proposal.difference.to_send and chosen.wanted is Wanted.OPEN:
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
                batch = _at_home(tx, context, batch)
                _refuse_cancelled(batch, chosen)
                if chosen.budget_nanos != batch.budget_nanos:
                    refuse_spent_budget(batch, chosen.budget_nanos)
                if intake.lock(tx, batch.id, token):
                    intake.sweep(tx, batch.id)
                    return batch
        if time.monotonic() > deadline:
            raise OrchestratorError(
                f"another submit of {chosen.name}@{chosen.label} is still being read",
                mend="Wait for it to end, then submit again.",
                code=BUSY,
            )
        time.sleep(0.2)


def _refuse_forgotten(context: Context, chosen: Options) -> None:
    """A batch that is new here, but that the journal knows purchases of, was lost."""
    if context.journal_dir is None or chosen.wanted is not Wanted.OPEN:
        return
    with context.store.read() as tx:
        rejoining.refuse(tx)
        found = batches.find(tx, chosen.name, chosen.label)
        elsewhere = lineage.lost_hosts(tx, chosen.name, chosen.label)
    if found is not None and found.published_at is not None:
        _refuse_older_database(context, found, context.journal_dir)
        return
    title = f"{chosen.name}@{chosen.label}"
    if elsewhere:
        raise NeedsPersonError(
            f"the journal of {', '.join(elsewhere)} knows purchases of {title}, but this database "
            "went back to before it knew the batch",
            mend=f"`orchestrator recover SPEC` with the same names on {elsewhere[0]} puts it back "
            "without buying anything; or give the batch another --label.",
            code="recover_first",
        )
    if journal.knows(
        [context.journal_dir], namespace=context.namespace, name=chosen.name, label=chosen.label
    ):
        raise NeedsPersonError(
            f"the journal knows purchases of {title}, but this database does not know the batch: "
            "it was lost, or another one was used",
            mend="`orchestrator recover SPEC` with the same names puts it back without buying "
            "anything; or give the batch another --label.",
            code="recover_first",
        )


def _refuse_older_database(context: Context, batch: Batch, directory: Path) -> None:
    """Files that the database never registered were written after it: was it put back?"""
    with context.store.read() as tx:
        registered = restoring.registered_journals(tx)
    for path in journal.paths(directory):
        if path.name in registered:
            continue
        keys = list(
            journal.keys_in(path, namespace=batch.namespace, name=batch.name, label=batch.label)
        )
        for start in range(0, len(keys), GROUP):
            group = keys[start : start + GROUP]
            with context.store.read() as tx:
                known = lives.by_key(tx, group)
            if len(known) < len(group):
                raise NeedsPersonError(
                    f"the journal knows purchases of {batch.title} that this database does not: "
                    "it is older than the journal",
                    mend="`orchestrator recover SPEC` with the same names adds what is missing "
                    "without buying anything.",
                    code="recover_first",
                )


def _at_home(tx: Tx, context: Context, batch: Batch) -> Batch:
    """A batch stays with the namespace and provider that its keys and money belong to.

    Raises UsageError where they are others; until something is sent it moves with the settings.
    """
    home = (context.namespace, context.provider)
    if (batch.namespace, batch.provider) == home:
        return batch
    if batches.rehome(
        tx,
        batch.id,
        namespace=context.namespace,
        provider=context.provider,
        actor=context.actor,
    ):
        return batches.get(tx, batch.id)
    if batch.namespace != context.namespace:
        raise UsageError(
            f"{batch.title} belongs to the namespace {batch.namespace!r}, not "
            f"{context.namespace!r}",
            mend="Set ORCHESTRATOR_NAMESPACE back, or give the batch another --label.",
        )
    raise UsageError(
        f"{batch.title} was submitted to {batch.provider}, not {context.provider}",
        mend="Set MINDVIDEO_BASE_URL back, or give the batch another --label.",
    )


def _refuse_cancelled(batch: Batch, chosen: Options) -> None:
    if batch.wanted is Wanted.CANCELLED and chosen.wanted is Wanted.OPEN:
        raise UsageError(
            f"{batch.title} was cancelled",
            mend=f"`orchestrator resume {batch.title}` goes on with it; or give another --label.",
            code="cancelled",
        )


@dataclass(frozen=True, slots=True)
class _Read:
    """A file that was staged whole."""

    revision_id: int
    rows: int
    notes: tuple[Note, ...]
    skipped: tuple[Problem, ...]


def _stage(
    context: Context,
    spec: Spec,
    batch: Batch,
    token: str,
    progress: Callable[[int], None],
    *,
    reuse: bool,
) -> _Read:
    """Stream the file into unpublished rows; raises SpecError with all problems at its end."""
    with context.store.write() as tx:
        revision_id = intake.begin(tx, batch.id, source=str(spec.path), actor=context.actor)
        position = intake.last_position(tx, batch.id)
    problems: list[Problem] = []
    notes: list[Note] = []
    skipped: list[Problem] = []
    rows = bad = 0
    for group in grouped(spec.rows()):
        found = [entry for entry in group if isinstance(entry, SpecRow | BadRow)]
        for row in found:
            if isinstance(row, BadRow):
                bad += 1
                skipped += row.problems
        problems += [entry for entry in group if isinstance(entry, Problem)]
        notes += [entry for entry in group if isinstance(entry, Note)]
        rows += len(found)
        if not problems:
            with uninterrupted(), context.store.write() as tx:
                _keep_lock(tx, batch, token, revision_id)
                position += intake.stage(
                    tx,
                    batch.id,
                    revision_id,
                    [_staged(row) for row in found],
                    after_position=position,
                    compare=batch.published_at is not None,
                )
                if reuse:
                    good = [row for row in found if isinstance(row, SpecRow)]
                    reusing.stage(tx, context, batch, revision_id, good)
        progress(rows)
    if problems or (bad and bad == rows):
        raise too_many_problems(spec.path, problems or skipped)
    return _Read(revision_id, rows, tuple(notes), tuple(skipped))


def _keep_lock(tx: Tx, batch: Batch, token: str, revision_id: int) -> None:
    if not intake.holds(tx, batch.id, token, revision_id):
        raise OrchestratorError(
            f"this submit of {batch.title} took so long that another one went ahead",
            mend="Submit again.",
            code=BUSY,
        )


def grouped(entries: Iterable[_Entry]) -> Iterator[list[_Entry]]:
    """Groups of at most GROUP entries and about GROUP_CHARS of input: images are large."""
    group: list[_Entry] = []
    chars = 0
    for entry in entries:
        group.append(entry)
        chars += len(entry.input_json) if isinstance(entry, SpecRow) else 0
        if len(group) == GROUP or chars > GROUP_CHARS:
            yield group
            group, chars = [], 0
    if group:
        yield group


_encode = json.JSONEncoder(ensure_ascii=False).encode
"""Made once: making it takes as long as using it."""


def _staged(row: SpecRow | BadRow) -> Staged:
    source = _encode(dict(row.source))
    if isinstance(row, BadRow):
        return Staged(row.row_key, row.digest, "", "", "", source, invalid=row.message)
    return Staged(
        row_key=row.row_key,
        digest=row.digest,
        model=row.model,
        price_class=row.price_class,
        input_json=row.input_json,
        source=source,
    )


def _compare(
    context: Context, batch: Batch, read: _Read, listed: PriceFile, *, reuse: bool
) -> Proposal:
    with context.store.read(LONG) as tx:
        difference = intake.difference(tx, batch.id, read.revision_id, reuse=reuse)
        book = listed.over(prices.book(tx, context.provider), tx.now)
    cost = estimate(difference.price_classes, amounts(book))
    remarks = tuple(disagreements(book, difference.price_classes))
    return Proposal(batch.title, read.rows, difference, cost, read.notes, read.skipped, remarks)


def looks_foreign(known: int, changed: int, removed: int) -> bool:
    """Whether a file whose rows are these to a batch seems to be another one's."""
    return known == 0 and changed == 0 and removed > 0


def _refuse_misfits(batch: Batch, proposal: Proposal, chosen: Options) -> None:
    difference = proposal.difference
    if batch.published_at is None:
        return
    foreign = looks_foreign(difference.known, difference.changed, difference.removed)
    if foreign and not chosen.append:
        raise UsageError(
            f"none of the {proposal.rows:,} rows is part of {batch.title}, which has "
            f"{difference.removed:,} others: this looks like another batch",
            mend="Give it a --label or --name of its own, or add its rows with --append.",
            code="foreign_rows",
        )
    if difference.removed_pending and not (
        chosen.prune or chosen.keep_removed or (foreign and chosen.append)
    ):
        raise UsageError(
            f"{difference.removed_pending:,} rows of {batch.title} are no longer in the file and "
            "still wait to be sent",
            mend="Withdraw them with --prune, or leave them in with --keep-removed.",
            code="removed_rows",
        )


def _publish(
    context: Context,
    spec: Spec,
    batch: Batch,
    token: str,
    read: _Read,
    proposal: Proposal,
    chosen: Options,
    listed: PriceFile,
) -> Taken:
    columns = tuple(dict.fromkeys((*batch.columns, *spec.columns)))
    with uninterrupted(), context.store.write(LONG) as tx:
        _keep_lock(tx, batch, token, read.revision_id)
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
    if pace.canary is not None and proposal.difference.to_send:
        canaries.begin(tx, batch.id, pace.canary, actor=context.actor)
    elif batch.canary is not None and batch.canary_phase is Phase.TRYING:
        canaries.choose(tx, batch.id, batch.canary.rows)
