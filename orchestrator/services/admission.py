"""What a submit is refused for: batches that were lost, are elsewhere, or are not this file's."""

from __future__ import annotations

from pathlib import Path

from orchestrator import journal
from orchestrator.domain.batch import Wanted
from orchestrator.errors import NeedsPersonError, UsageError
from orchestrator.services import rejoining
from orchestrator.services.context import Context
from orchestrator.store import batches, lineage, lives, restoring
from orchestrator.store.batches import Batch
from orchestrator.store.engine import Tx
from orchestrator.store.intake import Difference

_GROUP = 2000
"""Keys of the journal that the database is asked for at once."""


def refuse_forgotten(context: Context, name: str, label: str) -> None:
    """A batch that is new here, but that the journal knows purchases of, was lost.

    Raises NeedsPersonError.
    """
    if context.journal_dir is None:
        return
    with context.store.read() as tx:
        rejoining.refuse(tx)
        found = batches.find(tx, name, label)
        elsewhere = lineage.lost_hosts(tx, name, label)
    if found is not None and found.published_at is not None:
        _refuse_older_database(context, found, context.journal_dir)
        return
    title = f"{name}@{label}"
    if elsewhere:
        raise NeedsPersonError(
            f"the journal of {', '.join(elsewhere)} knows purchases of {title}, but this database "
            "went back to before it knew the batch",
            mend=f"`orchestrator recover SPEC` with the same names on {elsewhere[0]} puts it back "
            "without buying anything; or give the batch another --label.",
            code="recover_first",
        )
    if journal.knows([context.journal_dir], namespace=context.namespace, name=name, label=label):
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
        for start in range(0, len(keys), _GROUP):
            group = keys[start : start + _GROUP]
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


def at_home(tx: Tx, context: Context, batch: Batch) -> Batch:
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


def refuse_cancelled(batch: Batch) -> None:
    """Raises UsageError for a batch that a person has ended."""
    if batch.wanted is Wanted.CANCELLED:
        raise UsageError(
            f"{batch.title} was cancelled",
            mend=f"`orchestrator resume {batch.title}` goes on with it; or give another --label.",
            code="cancelled",
        )


def looks_foreign(known: int, changed: int, removed: int) -> bool:
    """Whether a file whose rows are these to a batch seems to be another one's."""
    return known == 0 and changed == 0 and removed > 0


def refuse_misfits(
    batch: Batch,
    difference: Difference,
    *,
    rows: int,
    append: bool,
    prune: bool,
    keep_removed: bool,
) -> None:
    """A file of `rows` that seems another batch's, or leaves out what waits to be sent.

    Raises UsageError, unless `append`, `prune` or `keep_removed` says that it is meant.
    """
    if batch.published_at is None:
        return
    foreign = looks_foreign(difference.known, difference.changed, difference.removed)
    if foreign and not append:
        raise UsageError(
            f"none of the {rows:,} rows is part of {batch.title}, which has "
            f"{difference.removed:,} others: this looks like another batch",
            mend="Give it a --label or --name of its own, or add its rows with --append.",
            code="foreign_rows",
        )
    if difference.removed_pending and not (prune or keep_removed or (foreign and append)):
        raise UsageError(
            f"{difference.removed_pending:,} rows of {batch.title} are no longer in the file and "
            "still wait to be sent",
            mend="Withdraw them with --prune, or leave them in with --keep-removed.",
            code="removed_rows",
        )
