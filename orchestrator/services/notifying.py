"""Telling the outside: that a batch is finished, or that it needs a person."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence

from orchestrator.domain import retry
from orchestrator.services import status
from orchestrator.services.context import Context
from orchestrator.services.status import BatchStatus, iso
from orchestrator.store import batches, outbox
from orchestrator.store.batches import Batch
from orchestrator.store.engine import Tx
from orchestrator.store.outbox import Event

FINISHED, NEEDS_PERSON = "batch.finished", "batch.needs_person"
AT_ONCE = 5
LEASE_MS = 120_000

Deliver = Callable[[str, str, int], bool]
"""(event id, body, time in ms) -> whether it was taken."""


def announce_finished(tx: Tx, context: Context, batch: Batch) -> None:
    """The completion event, in the transaction that finished the batch."""
    summary = status.read(tx, context, batch).as_json()
    outbox.add(
        tx,
        event_id=f"finished-{batch.id}-{batch.finished_at}",
        batch_id=batch.id,
        kind=FINISHED,
        payload=json.dumps(summary),
    )


def announce_waiting(tx: Tx, context: Context) -> None:
    """An event for each open batch that only a person can move; once for each time it comes so."""
    for batch in batches.lively(tx, since=tx.now):
        now = status.read(tx, context, batch)
        if now.settled and batch.finished_at is None and now.exit_code() in (3, 4, 5):
            outbox.add(
                tx,
                event_id=f"waiting-{batch.id}-{_moment(now)}",
                batch_id=batch.id,
                kind=NEEDS_PERSON,
                payload=json.dumps(now.as_json() | {"waiting": now.waiting}),
            )


def _moment(now: BatchStatus) -> str:
    """Tells one time that a batch stands still from another: nothing of this changes meanwhile."""
    what = [now.as_json(), now.waiting, now.gate.id if now.gate else None, str(now.batch.wanted)]
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:16]


def run_once(context: Context, targets: Sequence[Deliver], jitter: Callable[[], float]) -> int:
    """Deliver what is due, at least once each, to every target; returns how many were taken.

    A target that does not answer is tried again with backoff, with the same event id.
    """
    with context.store.write() as tx:
        announce_waiting(tx, context)
        events = outbox.claim(tx, until=tx.now + LEASE_MS, limit=AT_ONCE) if targets else []
        now = tx.now
    taken = 0
    for event in events:
        answers = [deliver(event.event_id, _body(event), now) for deliver in targets]
        done = all(answers)
        with context.store.write() as tx:
            if done:
                outbox.delivered(tx, event)
            else:
                wait = retry.backoff(event.tries + 1, jitter())
                outbox.postpone(tx, event, tx.now + round(wait * 1000))
        taken += done
    return taken


def _body(event: Event) -> str:
    """The event as the Standard Webhooks scheme has it: type, timestamp, data."""
    return json.dumps(
        {
            "type": event.kind,
            "timestamp": iso(event.created_at),
            "data": json.loads(event.payload),
        },
        ensure_ascii=False,
    )
