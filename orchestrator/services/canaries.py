"""Letting the rows of a batch go after its canary, or stopping it."""

from __future__ import annotations

from orchestrator.domain import canary
from orchestrator.domain.batch import Stop, Wanted
from orchestrator.domain.canary import Phase
from orchestrator.services.context import Context
from orchestrator.store import batches, canaries, steering
from orchestrator.store.engine import Tx


def judge_all(tx: Tx, context: Context) -> None:
    """Decide where it can be decided; a batch that fails is paused until a person resumes it."""
    for batch_id in canaries.trying(tx):
        batch = batches.lock(tx, batch_id)
        if batch.canary is None or batch.canary_phase is not Phase.TRYING:
            continue
        found = canary.judge(batch.canary, canaries.rows(tx, batch_id), now=tx.now)
        if found.phase is Phase.TRYING:
            continue
        canaries.decide(tx, batch_id, found.phase, actor=context.actor, detail=found.reason)
        if found.phase is Phase.FAILED and canaries.others_wait(tx, batch_id):
            batches.stop(tx, batch_id, Stop.CANARY, found.reason, actor=context.actor)
            if batch.wanted is Wanted.OPEN:
                steering.want(tx, batch_id, Wanted.PAUSED, actor=context.actor, detail="canary")
