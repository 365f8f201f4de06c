"""What is written to the log of purchases: a line for each chunk, and for what is not routine."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.domain.states import State
from orchestrator.domain.submission import Decision
from orchestrator.errors import OrchestratorError
from orchestrator.services.context import Context
from orchestrator.store import batches, lives
from orchestrator.store.lives import Stored
from orchestrator.telemetry.logs import about

_log = logging.getLogger(__name__)
_LONGEST = 300
_NOT_ROUTINE = frozenset({State.UNKNOWN, State.REJECTED, State.FAILED, State.CANCELLED})


def tell_chunk(positions: Sequence[int], states: Mapping[str, int]) -> None:
    """One line for a chunk that was sent: its rows, and how many are in which state now."""
    rows = f"{min(positions)}-{max(positions)}"
    _log.info("chunk sent", extra=about(rows=rows, claimed=len(positions), **states))


async def tell(context: Context, kept: Sequence[tuple[Stored, Decision, Any]]) -> None:
    """A line for each purchase that was lost, refused, failed, or that needs a person now."""
    found = [(stored, decision) for stored, decision, _ in kept if _noteworthy(stored, decision)]
    if found and _log.isEnabledFor(logging.WARNING):
        await asyncio.to_thread(_tell, context, found)


def _noteworthy(stored: Stored, decision: Decision) -> bool:
    after = decision.after
    waits = after.needs_person is not None and after.needs_person != stored.life.needs_person
    return waits or (decision.event is not None and after.state in _NOT_ROUTINE)


def _tell(context: Context, found: Sequence[tuple[Stored, Decision]]) -> None:
    titles, rows = _names(context, [stored for stored, _ in found])
    for stored, decision in found:
        after = decision.after
        fields = {
            "batch": titles.get(stored.batch_id, stored.batch_id),
            "row": rows.get(stored.item_id, (0, None))[1],
            "item": stored.item_id,
            "generation": stored.generation,
            "try": after.tries,
            "state": after.state,
            "task_id": after.task_id,
            "request_id": after.request_id,
            "needs_person": after.needs_person,
            "error_code": after.error_code,
        }
        told = {name: value for name, value in fields.items() if value is not None}
        _log.warning("%s", decision.note[:_LONGEST] or after.state, extra=about(**told))


def _names(
    context: Context, found: Sequence[Stored]
) -> tuple[dict[int, str], dict[int, tuple[int, str]]]:
    """Batch -> title, item -> (position, row key); the ids must do where the database is away."""
    try:
        with context.store.read() as tx:
            ids = {stored.batch_id for stored in found}
            titles = {batch_id: batches.get(tx, batch_id).title for batch_id in ids}
            return titles, lives.row_names(tx, [stored.item_id for stored in found])
    except OrchestratorError:
        return {}, {}
