"""Waiting for leave to send: one asks for all, in order, and nobody is forgotten."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from orchestrator.errors import ServiceError
from orchestrator.limits import Closed, Granted, Wait
from orchestrator.services import turns
from orchestrator.services.desk import Desk
from orchestrator.services.line import Line


class Limiter:
    """Answers from a list, and remembers for how many it was asked."""

    def __init__(self, *answers: Granted | Wait | Closed | ServiceError) -> None:
        self.answers = list(answers)
        self.asked: list[int] = []

    async def acquire(self, *, buys: bool, most: int) -> Granted | Wait | Closed:
        self.asked.append(most)
        await asyncio.sleep(0)
        answer = self.answers.pop(0)
        if isinstance(answer, ServiceError):
            raise answer
        return answer


def desk_with(limiter: Limiter) -> Desk:
    return cast(Desk, SimpleNamespace(limiter=limiter, turn=Line(), ask_turn=Line()))


async def take(desk: Desk, patience: float = 10) -> Granted | str:
    return await turns.take(desk, lambda: patience, buys=True)


def run(limiter: Limiter, number: int) -> list[Any]:
    async def main() -> list[Any]:
        desk = desk_with(limiter)
        answers = await asyncio.gather(*(take(desk) for _ in range(number)))
        assert not desk.turn.asking
        assert not desk.turn.waiting
        return answers

    return asyncio.run(main())


def test_those_who_are_ready_together_are_asked_for_together() -> None:
    limiter = Limiter(Granted(7, 5))
    assert run(limiter, 5) == [Granted(7)] * 5
    assert limiter.asked == [5]


def test_whoever_gets_none_asks_next_for_the_rest() -> None:
    limiter = Limiter(Granted(1, 2), Wait(0.001), Granted(2, 1), Granted(3, 2))
    answers = run(limiter, 5)
    assert [one.at for one in answers] == [1, 1, 2, 3, 3]
    assert limiter.asked == [5, 3, 3, 2]


def test_a_closed_gate_and_a_lost_limiter_hold_for_all() -> None:
    assert run(Limiter(Closed(1, "paused")), 3) == ["the gate is closed: paused"] * 3
    away = ServiceError("the broker is away", mend="")
    assert run(Limiter(away), 3) == ["the broker is away"] * 3


def test_one_who_has_no_patience_leaves_the_asking_to_the_next() -> None:
    async def main() -> None:
        limiter = Limiter(Wait(5), Granted(1, 1))
        desk = desk_with(limiter)
        first, second = await asyncio.gather(take(desk, patience=0.1), take(desk))
        assert first == "no turn at the rate limiter in time"
        assert second == Granted(1)

    asyncio.run(main())


def test_one_who_is_cancelled_does_not_hold_up_the_line() -> None:
    async def main() -> None:
        limiter = Limiter(Wait(30), Granted(1, 2))
        desk = desk_with(limiter)
        tasks = [asyncio.create_task(take(desk, patience=60)) for _ in range(4)]
        for _ in range(4):
            await asyncio.sleep(0)
        assert limiter.asked == [4]
        # The one who asks goes, and in the same moment the next, who is told to ask now.
        tasks[0].cancel()
        await asyncio.sleep(0)
        tasks[1].cancel()
        assert await asyncio.gather(*tasks[2:]) == [Granted(1)] * 2
        assert limiter.asked == [4, 2]

    asyncio.run(main())
