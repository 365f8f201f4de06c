"""Which of a chunk's purchases the budget allows, and what each of them holds."""

from __future__ import annotations

from collections.abc import Sequence


def holds(
    prices: Sequence[int | None],
    *,
    free_nanos: int | None,
    held_nanos: int,
    max_price: int | None = None,
) -> list[int | None]:
    """For each purchase in order the hold to take, or None where it must wait.

    `prices`: nano-dollars, None where the class's price is unknown. `free_nanos`: what the budget
    leaves, None without a budget. Under a budget an unknown price goes alone, as a probe that
    holds all that is free, and only while nothing else is held. `max_price` bars what costs more,
    and whatever has no known price.
    """
    barred = [max_price is not None and (price is None or price > max_price) for price in prices]
    if free_nanos is None:
        return [None if bar else price or 0 for price, bar in zip(prices, barred, strict=True)]
    granted: list[int | None] = []
    free = free_nanos
    outstanding = held_nanos
    for price, bar in zip(prices, barred, strict=True):
        if bar:
            granted.append(None)
            continue
        hold = free if price is None and outstanding == 0 and free > 0 else price
        if hold is None or hold > free:
            granted.append(None)
            continue
        granted.append(hold)
        free -= hold
        outstanding += hold
    return granted
