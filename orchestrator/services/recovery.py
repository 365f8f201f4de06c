"""After a database was lost: the spec and the journal rebuild a batch without buying anything.

The merge is monotonic (orchestrator.domain.recovery), so it may be repeated, and it serves a
database that came back older than the journal as well as one that is empty.
"""

from __future__ import annotations

import socket
import uuid
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from orchestrator.domain.batch import Wanted
from orchestrator.domain.identity import KEY_VERSION
from orchestrator.domain.recovery import Told, claimed, merge
from orchestrator.errors import NeedsPersonError, UsageError
from orchestrator.journal import Book, paths, read_batch, written_now
from orchestrator.services import finishing, intake, presence
from orchestrator.services.context import Context
from orchestrator.services.merging import GROUP, Report, count, expired, grouped, merge_group
from orchestrator.spec import AS_FOUND, Reading
from orchestrator.store import batches, lineage, lives, prices, restoring, steering, workers
from orchestrator.store import intake as store_intake
from orchestrator.store.batches import Batch
from orchestrator.store.engine import Tx
from orchestrator.store.restoring import Unsent


def recover(
    context: Context,
    path: Path,
    *,
    name: str | None,
    label: str | None,
    journals: Sequence[Path],
    first_sent_after: int | None,
    how: Reading = AS_FOUND,
) -> Report:
    """Rebuild a batch, paused. `first_sent_after` (ms): when sending began, without a journal.

    Raises UsageError while workers run, NeedsPersonError where nothing tells what was sent.
    """
    directories = [*journals]
    if context.journal_dir is not None:
        directories.insert(0, context.journal_dir)
    _refuse_company(context, directories)
    batch_name, batch_label = intake.names_of(path, name, label, how)
    book = read_batch(directories, namespace=context.namespace, name=batch_name, label=batch_label)
    known = _known(context, batch_name, batch_label)
    if not book.submissions and known is None and first_sent_after is None:
        raise NeedsPersonError(
            f"no journal knows {batch_name}@{batch_label}, so nothing tells what was sent",
            mend="If nothing was, submit it. Else say since when: --first-sent-after "
            "2026-01-31T18:00Z sends every row again under its old key, within retention only.",
            code="no_journal",
        )
    if book.batch is not None and book.batch.key_version != KEY_VERSION:
        raise UsageError(
            f"the journal's keys are of version {book.batch.key_version}, this release makes "
            f"{KEY_VERSION}",
            mend="Recover with the release that sent it.",
            code="key_version",
        )
    batch = _take_in(context, path, how, book, batch_name, batch_label)
    report = Report(batch, damage=[str(one) for one in book.damage])
    missing = _missing_journals(context, directories)
    report.damage += [f"journal {file} of {host} is missing" for file, host in missing]
    token = uuid.uuid4().hex
    for group in grouped(book.submissions.values()):
        with context.store.write() as tx:
            _lock(tx, batch, token)
            merge_group(tx, context, batch, group, report)
    since = first_sent_after
    if since is None and report.damage:
        # Something may have been sent of which the record is lost: ask for it under its key.
        since = book.first_intent_at or batch.created_at
    if since is not None:
        _assume_sent(context, batch, since, report, token)
    finishing.run_once(context)
    with context.store.write() as tx:
        _register(tx, batch, directories)
        store_intake.unlock(tx, batch.id, token)
        report.batch = batches.get(tx, batch.id)
    return report


def _register(tx: Tx, batch: Batch, directories: Sequence[Path]) -> None:
    """What has been merged is as good as written by this database's own workers."""
    known = restoring.registered_journals(tx)
    hosts = {socket.gethostname()}
    for directory in directories:
        for path in paths(directory):
            if path.name in known:
                hosts.add(known[path.name][0])
            else:
                restoring.register_journal(tx, path.name, socket.gethostname())
    lineage.found_again(tx, batch.name, batch.label, sorted(hosts))


def _lock(tx: Tx, batch: Batch, token: str) -> None:
    """One at a time changes a batch's rows; renewed with each group."""
    if not store_intake.lock(tx, batch.id, token):
        raise UsageError(
            f"another recover or submit of {batch.title} is under way",
            mend="Wait for it to end, then recover again.",
            code="busy",
        )


def _refuse_company(context: Context, directories: Sequence[Path]) -> None:
    with context.store.read() as tx:
        # Of this machine's processes the locks tell more than their last sign of life.
        here = f"{socket.gethostname()}:"
        alive = [name for name in workers.alive(tx) if not name.startswith(here)]
    alive += presence.living(context.presence)
    busy = written_now([path for directory in directories for path in paths(directory)])
    if alive or busy:
        who = ", ".join(alive) or f"a process that writes {busy[0].name}"
        raise UsageError(
            f"workers are running ({who})",
            mend="Stop them (Ctrl-C in `orchestrator up` or `run`), then recover.",
            code="workers_running",
        )


def _known(context: Context, name: str, label: str) -> Batch | None:
    with context.store.read() as tx:
        found = batches.find(tx, name, label)
    return found if found is not None and found.published_at is not None else None


def _take_in(
    context: Context, path: Path, how: Reading, book: Book, name: str, label: str
) -> Batch:
    """The spec's rows, in a batch that sends nothing until a person resumes it."""
    wanted = Wanted.PAUSED
    budget = book.batch.budget_nanos if book.batch else None
    if book.control is not None:
        budget = book.control.budget_nanos
        if book.control.wanted == Wanted.CANCELLED:
            wanted = Wanted.CANCELLED
    options = intake.Options(
        name, label, budget_nanos=budget, append=True, keep_removed=True, wanted=wanted
    )
    known = _known(context, name, label)
    if known is not None and known.wanted is Wanted.OPEN:
        with context.store.write() as tx:
            steering.want(tx, known.id, wanted, actor=context.actor, detail="recover")
    taken = intake.take_in(
        context,
        path,
        options=lambda spec: replace(
            options,
            deadline=spec.header.deadline,
            account=spec.header.account if book.batch is None else book.batch.account,
        ),
        confirm=lambda _proposal: True,
        how=how,
    )
    return taken.batch


def _missing_journals(context: Context, directories: Sequence[Path]) -> list[tuple[str, str]]:
    """Registered files that are in none of the directories: (file, host)."""
    with context.store.read() as tx:
        registered = restoring.registered_journals(tx)
    return [
        (name, host)
        for name, (host, _) in registered.items()
        if not any((directory / name).exists() for directory in directories)
    ]


def _unseen(context: Context, batch: Batch, row: Unsent, since: int, hold: int) -> Told:
    """A row of which nothing is known, as if it had been sent then."""
    key = batch.key_of(row, 0)
    account = context.accounts.named(batch.account)
    return Told(
        idempotency_key=key,
        row_key=row.row_key,
        generation=0,
        model=row.model,
        digest=row.digest,
        price_class=row.price_class,
        account=account.id if account else "",
        hold_nanos=hold,
        attempts={"unseen": since},
    )


def _assume_sent(context: Context, batch: Batch, since: int, report: Report, token: str) -> None:
    """Rows of which nothing is known may have been sent since: asked again under the same key."""
    after = -1
    while True:
        with context.store.write() as tx:
            _lock(tx, batch, token)
            rows = restoring.unsent_items(tx, batch.id, after, GROUP)
            if not rows:
                return
            decided = []
            book = prices.known(tx, context.provider)
            for row in rows:
                told = _unseen(context, batch, row, since, book.get(row.price_class, 0))
                decision = merge(None, told, now=tx.now, policy=context.policy)
                assert decision is not None  # noqa: S101 one attempt is never settled
                stored = restoring.put_back(tx, batch.id, row.item_id, told, claimed(told, tx.now))
                decision = expired(decision, tx.now, context.policy)
                count(report, decision.after.state, decision.after.needs_person)
                decided.append((stored, decision))
            lives.record(tx, decided, actor=context.actor)
            after = rows[-1].position
