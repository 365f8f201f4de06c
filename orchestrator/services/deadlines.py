"""Until when a batch sends anything new, as its spec says."""

from __future__ import annotations

from datetime import UTC, datetime

from orchestrator.domain.batch import Stop
from orchestrator.domain.deadline import Deadline, passed
from orchestrator.errors import UsageError
from orchestrator.services.context import Context
from orchestrator.store import batches
from orchestrator.store.batches import Batch
from orchestrator.store.engine import Tx


def refuse_late(context: Context, batch: Batch, deadline: Deadline) -> None:
    """Raises UsageError where new rows would never be sent."""
    with context.store.read() as tx:
        late = passed(deadline.moment(batch.created_at), tx.now)
    if late:
        raise UsageError(
            f"the deadline of {batch.title} has passed, so nothing would be sent",
            mend="Write a later deadline into the spec, or leave it out.",
            code=Stop.DEADLINE.value,
        )


def put(tx: Tx, batch: Batch, deadline: Deadline | None, *, actor: str) -> None:
    """The spec's deadline counts from now on; a spec without one leaves what there is."""
    at = None if deadline is None else deadline.moment(batch.created_at)
    if at is not None and at != batch.deadline_at:
        moment = datetime.fromtimestamp(at / 1000, UTC)
        detail = f"nothing new is sent from {moment:%Y-%m-%d %H:%M} UTC on"
        batches.set_deadline(tx, batch.id, at, actor=actor, detail=detail)
