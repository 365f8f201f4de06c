"""What a batch is doing, derived from what its items are doing and what a person wants."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum

from orchestrator.domain.states import OPEN, State

NAME = re.compile(r"[A-Za-z0-9._:+-]+")
"""What a batch may be named and labelled."""


class Wanted(StrEnum):
    """What a person wants of a batch; stored."""

    OPEN = "open"
    PAUSED = "paused"
    CANCELLED = "cancelled"


class Stop(StrEnum):
    """Why a batch sends nothing more although a person wants it to; stored."""

    BUDGET = "budget"
    MAX_PRICE = "max_price"
    LIMIT = "limit"
    CANARY = "canary"
    DEADLINE = "deadline"
    COST_UNREADABLE = "cost_unreadable"


class BatchState(StrEnum):
    """What a batch is doing; derived, never stored."""

    RUNNING = "running"
    PAUSED = "paused"
    BLOCKED = "blocked"
    CANCELLING = "cancelling"
    FINISHED = "finished"


_MOVING = (State.SUBMITTING, State.QUEUED, State.PROCESSING)


def batch_state(
    *,
    wanted: Wanted,
    counts: Mapping[State, int],
    waiting: Mapping[State, int],
    stop: Stop | None,
    gate_closed: bool,
) -> BatchState:
    """Derive the state.

    `counts` are the items by state, `waiting` those among them that need a person, `gate_closed`
    means a gate that does not open by itself. Blocked: something bars the way, and nothing is on
    its way that could change that.
    """
    still_open = sum(counts.get(state, 0) for state in OPEN)
    if still_open == 0:
        return BatchState.FINISHED
    if wanted is Wanted.CANCELLED:
        return BatchState.CANCELLING
    if wanted is Wanted.PAUSED:
        return BatchState.PAUSED
    moving = sum(counts.get(state, 0) - waiting.get(state, 0) for state in _MOVING)
    unasked = counts.get(State.UNKNOWN, 0) - waiting.get(State.UNKNOWN, 0)
    unsent = counts.get(State.PENDING, 0) - waiting.get(State.PENDING, 0)
    if not gate_closed and stop is not Stop.COST_UNREADABLE:
        # A re-ask takes no new money, so a spent budget does not bar it.
        moving += unasked
    barred = gate_closed or stop is not None or unasked + unsent == 0
    return BatchState.BLOCKED if barred and moving == 0 else BatchState.RUNNING
