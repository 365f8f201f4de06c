"""Closing batches whose every item has come to its end."""

from __future__ import annotations

import logging

from orchestrator.domain.money import to_usd
from orchestrator.services import canaries, notifying
from orchestrator.services.context import Context
from orchestrator.store import batches, lineage, steering
from orchestrator.telemetry.logs import about

_log = logging.getLogger(__name__)


def run_once(context: Context) -> int:
    """Close what is finished and write each completion event, once; returns how many."""
    with context.store.write() as tx:
        if lineage.closed(tx) is not None:
            # What was sent may not be known: nothing is taken back, nothing is at its end.
            return 0
        canaries.judge_all(tx, context)
        steering.withdraw_rest(tx, actor=context.actor)
        ended = batches.finish_ended(tx)
        for batch in ended:
            notifying.announce_finished(tx, context, batch)
    for batch in ended:
        spent = to_usd(batch.actual_nanos + batch.assumed_nanos)
        _log.info("batch finished", extra=about(batch=batch.title, spent_usd=spent))
    return len(ended)
