"""From what a person typed to the batch they mean."""

from __future__ import annotations

from orchestrator.errors import UsageError
from orchestrator.services.context import Context
from orchestrator.store import batches
from orchestrator.store.batches import Batch
from orchestrator.store.engine import Tx


def find_batch(context: Context, text: str) -> Batch:
    """The batch called `text`. Raises UsageError with the nearest names."""
    with context.store.read() as tx:
        name, at, label = text.partition("@")
        found = batches.find(tx, name, label) if at else batches.latest(tx, name)
        if found is None or found.published_at is None:
            raise _unknown(tx, text)
        return found


def find_to_steer(context: Context, text: str) -> Batch:
    """As `find_batch`, but a bare name must mean one batch where several of it are open."""
    found = find_batch(context, text)
    if "@" in text:
        return found
    with context.store.read() as tx:
        titles = batches.open_titles(tx, text)
    if len(titles) > 1:
        raise UsageError(
            f"{text!r} has {len(titles)} open batches: {', '.join(titles)}",
            mend="Name the one you mean with its label.",
            code="ambiguous_batch",
        )
    return found


def _unknown(tx: Tx, text: str) -> UsageError:
    from rapidfuzz import process

    titles = batches.titles(tx)
    near = [title for title, _, _ in process.extract(text, titles, limit=3, score_cutoff=60)]
    mend = "`orchestrator batches` lists them."
    if near:
        mend = f"Did you mean {' or '.join(near)}? {mend}"
    elif not titles:
        mend = "Nothing was submitted here yet: `orchestrator run SPEC` does."
    return UsageError(f"there is no batch {text!r}", mend=mend, code="no_batch")
