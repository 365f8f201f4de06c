"""Waiting for a turn at the fleet's rate limiter."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from orchestrator.errors import ServiceError
from orchestrator.limits import Closed, Granted, Wait
from orchestrator.services.desk import Desk


async def take(desk: Desk, patience: Callable[[], float], *, buys: bool) -> str | None:
    """Wait for leave to send one request; a sentence where the wait is over without it.

    `patience` says how many seconds the caller may still wait; `buys` whether it may cost money.
    """
    async with desk.turn:
        while True:
            try:
                answer = await desk.limiter.acquire(buys=buys)
            except ServiceError as error:
                # Without the limiter nobody knows the rate: stop rather than guess.
                return error.message
            match answer:
                case Granted():
                    return None
                case Closed(_, reason):
                    return f"the gate is closed: {reason}"
                case Wait(seconds):
                    if seconds > patience():
                        return "no turn at the rate limiter in time"
                    await asyncio.sleep(seconds)
