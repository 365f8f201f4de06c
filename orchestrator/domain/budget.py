"""Which of a chunk's purchases the budget allows, and what each of them holds."""

from __future__ import annotations

from collections.abc import Sequence


def holds(
    prices: Sequence[int | None], *, free_nanos: int | None, held_nanos: int
) -> list[int | None]:
    """For each purchase in order the hold to take, or None where it must wait.

    `prices`: nano-dollars, None where the class's price is unknown. `free_nanos`: what the budget
    leaves, None without a budget. Under a budget an unknown price goes alone, as a probe that
    holds all that is free, and only while nothing else is held.
    """
    if free_nanos is None:
        return [price or 0 for price in prices]
    granted: list[int | None] = []
    free = free_nanos
    outstanding = held_nanos
    for price in prices:
        hold = free if price is None and outstanding == 0 and free > 0 else price
        if hold is None or hold > free:
            granted.append(None)
            continue
        granted.append(hold)
        free -= hold
        outstanding += hold
    return granted
