"""Upkeep: what is left of specs whose reading ended before anything was published."""

from __future__ import annotations

import uuid

from orchestrator.services.context import Context
from orchestrator.store import intake

PATIENCE_MS = 24 * 3_600_000
"""A person may think about the question that a submit asks; its rows wait for the answer."""


def run_once(context: Context) -> int:
    """Drop the staged rows of submits that were killed a day ago; returns how many.

    Doubled or cut off, it goes on where it was.
    """
    with context.store.read() as tx:
        found = intake.abandoned(tx, since=tx.now - PATIENCE_MS)
    return sum(_sweep(context, batch_id) for batch_id in found)


def _sweep(context: Context, batch_id: int) -> int:
    token = uuid.uuid4().hex
    dropped = 0
    while True:
        with context.store.write() as tx:
            if not intake.lock(tx, batch_id, token):
                return dropped
            number = intake.sweep_some(tx, batch_id, intake.GROUP)
            dropped += number
            if number < intake.GROUP:
                intake.sweep(tx, batch_id)
                intake.unlock(tx, batch_id, token)
                intake.forget_unpublished(tx, batch_id)
                return dropped
