"""Waiting for a turn at the fleet's rate limiter."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from orchestrator.domain.breaker import TRIPS_AFTER
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
    if line.asking and (told := await line.wait()) is not None:
        return told
    line.asking = True
    try:
        return await _ask(desk, line, patience, buys=buys)
    finally:
        line.pass_on()


async def _ask(
    desk: Desk, line: Line, patience: Callable[[], float], *, buys: bool
) -> Granted | str:
    """Ask for everybody who is ready to send: a chunk's requests cost one question, not fifty."""
    # Those who got ready in this same moment join the line first.
    await asyncio.sleep(0)
    while True:
        try:
            # No more at once than show whether all of them fail.
            most = min(1 + len(line.waiting), TRIPS_AFTER)
            answer = await desk.limiter.acquire(buys=buys, most=most)
        except ServiceError as error:
            # Without the limiter nobody knows the rate: stop rather than guess.
            line.refuse(error.message)
            return error.message
        match answer:
            case Granted(at):
                line.give(answer)
                return Granted(at)
            case Closed(float(seconds), _) if not buys and seconds <= patience():
                # Given back, a poll would come late by the time until it is looked at again.
                await asyncio.sleep(seconds)
            case Closed(_, reason):
                sentence = f"the gate is closed: {reason}"
                line.refuse(sentence)
                return sentence
            case Wait(seconds):
                if seconds > patience():
                    return "no turn at the rate limiter in time"
                await asyncio.sleep(seconds)


async def heed(
    desk: Desk,
    turn: Granted,
    outcome: SubmitOutcome | PollOutcome | NotSent,
    *,
    buys: bool,
    full: bool = False,
) -> None:
    """Slow the fleet where the provider answered 429, at once: before the answer is recorded.

    `full`: as many tasks are in flight as it takes, so nothing was sent too fast, polls included.
    """
    match outcome:
        case (
            NothingCharged(gate=GateReason.RATE_LIMITED, retry_after=seconds)
            | AskLater(gate=GateReason.RATE_LIMITED, retry_after=seconds)
        ):
            try:
                if not full:
                    await desk.limiter.slow(turn, buys=buys)
                if seconds:
                    await desk.limiter.close(GateReason.RATE_LIMITED, seconds, asks=not full)
            except ServiceError:
                # Without the limiter nobody sends anyway; the database's gate is closed as ever.
                return
