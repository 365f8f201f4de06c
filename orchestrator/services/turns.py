"""Waiting for a turn at the fleet's rate limiter."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from orchestrator.domain.outcome import (
    AskLater,
    GateReason,
    NothingCharged,
    NotSent,
    PollOutcome,
    SubmitOutcome,
)
from orchestrator.errors import ServiceError
from orchestrator.limits import Closed, Granted, Wait
from orchestrator.services.desk import Desk
from orchestrator.services.line import Line


async def take(desk: Desk, patience: Callable[[], float], *, buys: bool) -> Granted | str:
    """Wait for leave to send one request; a sentence where the wait is over without it.

    `patience` says how many seconds the caller may still wait; `buys` whether it may cost money.
    """
    line = desk.turn if buys else desk.ask_turn
    line.waiting += 1
    try:
        async with line.lock:
            return await _first(desk, line, patience, buys=buys)
    finally:
        line.waiting -= 1


async def _first(
    desk: Desk, line: Line, patience: Callable[[], float], *, buys: bool
) -> Granted | str:
    """Ask for everybody who is ready to send: a chunk's requests cost one question, not fifty."""
    while True:
        if (turn := line.take_one(desk.monotonic())) is not None:
            return turn
        try:
            answer = await desk.limiter.acquire(buys=buys, most=line.waiting)
        except ServiceError as error:
            # Without the limiter nobody knows the rate: stop rather than guess.
            return error.message
        match answer:
            case Granted():
                line.put(answer, desk.monotonic())
            case Closed(_, reason):
                return f"the gate is closed: {reason}"
            case Wait(seconds):
                if seconds > patience():
                    return "no turn at the rate limiter in time"
                await asyncio.sleep(seconds)


async def heed(
    desk: Desk, turn: Granted, outcome: SubmitOutcome | PollOutcome | NotSent, *, buys: bool
) -> None:
    """Slow the fleet where the provider answered 429, at once: before the answer is recorded."""
    match outcome:
        case (
            NothingCharged(gate=GateReason.RATE_LIMITED, retry_after=seconds)
            | AskLater(gate=GateReason.RATE_LIMITED, retry_after=seconds)
        ):
            try:
                await desk.limiter.slow(turn, buys=buys)
                if seconds:
                    await desk.limiter.close(GateReason.RATE_LIMITED, seconds)
            except ServiceError:
                # Without the limiter nobody sends anyway; the database's gate is closed as ever.
                return
