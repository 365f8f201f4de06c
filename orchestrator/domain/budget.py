"""Which of a chunk's purchases the budget allows, and what each of them holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from orchestrator.domain.money import to_usd


class Cover(StrEnum):
    """Whether a budget covers what is to be sent."""

    NO_BUDGET = "no_budget"
    COVERED = "covered"
    PROBES = "probes"
    SHORT = "short"


@dataclass(frozen=True, slots=True)
class Verdict:
    """`kind` for programs, `text` for people."""

    kind: Cover
    text: str


def judge(left: int | None, rows: Mapping[str, int], prices: Mapping[str, int]) -> Verdict:
    """Whether `left` nano-dollars cover these rows. `rows`: price class -> how many."""
    known = sum(number * prices.get(name, 0) for name, number in rows.items())
    unknown = {name: number for name, number in rows.items() if number and name not in prices}
    total = sum(rows.values())
    if left is None:
        return Verdict(Cover.NO_BUDGET, "no budget: nothing limits what is spent")
    if not total:
        return Verdict(Cover.COVERED, "stays as it is: there is nothing to send")
    if known > left or left <= 0:
        covered = _covered(left, rows, prices)
        each = f"about {covered:,} of {total:,} rows" if covered else "no row"
        lacking = to_usd(known - left)
        more = f" and whatever {', '.join(sorted(unknown))} costs" if unknown else ""
        return Verdict(Cover.SHORT, f"covers {each}; {lacking} USD more is needed{more}")
    if unknown:
        probes = "one row of it goes" if len(unknown) == 1 else "one row of each goes"
        names = ", ".join(sorted(unknown))
        return Verdict(
            Cover.PROBES, f"cannot be judged: the price of {names} is unknown; {probes} first"
        )
    every = "the one row" if total == 1 else f"all {total:,} rows"
    spare = f"{to_usd(left - known)} USD would be left"
    return Verdict(Cover.COVERED, f"covers {every}; {spare}")


def _covered(left: int, rows: Mapping[str, int], prices: Mapping[str, int]) -> int:
    """Rows that the budget covers if each costs what the known ones cost on the average."""
    known = sum(number for name, number in rows.items() if name in prices)
    cost = sum(number * prices.get(name, 0) for name, number in rows.items())
    return max(0, left) * known // cost if cost else 0


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
