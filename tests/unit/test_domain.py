"""Money, budget, cadence, batch states: the small pure rules."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain import budget, cadence, retry
from orchestrator.domain.batch import BatchState, Stop, Wanted, batch_state
from orchestrator.domain.gate import KINDS
from orchestrator.domain.money import AmountError, parse_amount, to_nanos, to_usd
from orchestrator.domain.outcome import GateReason
from orchestrator.domain.states import State


@given(st.decimals(min_value=0, max_value=10**9, allow_nan=False, allow_infinity=False))
def test_money_is_never_rounded_down(amount: Decimal) -> None:
    nanos = to_nanos(amount)
    assert Decimal(nanos) / 10**9 >= amount
    assert Decimal(nanos - 1) / 10**9 < amount
    assert to_nanos(Decimal(to_usd(nanos))) == nanos


@pytest.mark.parametrize(
    ("text", "shown"),
    [("0.0414", "0.0414"), ("1", "1"), ("10.50", "10.5"), ("1E-9", "0.000000001")],
)
def test_money_is_shown_plainly(text: str, shown: str) -> None:
    assert to_usd(parse_amount(text).nanos) == shown


@pytest.mark.parametrize("text", ["", "abc", "-1", "NaN", "Infinity", "-0.01", "1e30", "1,50"])
def test_what_is_no_amount(text: str) -> None:
    with pytest.raises(AmountError):
        parse_amount(text)


PRICES = st.lists(st.none() | st.integers(0, 100), max_size=30)


@given(PRICES, st.integers(-50, 500), st.integers(0, 100))
def test_holds_never_pass_the_budget(prices: list[int | None], free: int, held: int) -> None:
    granted = budget.holds(prices, free_nanos=free, held_nanos=held)
    taken = [hold for hold in granted if hold is not None]
    assert sum(taken) <= max(free, 0)
    for price, hold in zip(prices, granted, strict=True):
        if price is None and hold is not None:
            assert held == 0
            assert hold == free - sum(taken) + hold, "a probe holds all that is free"


@given(PRICES)
def test_without_a_budget_nothing_waits(prices: list[int | None]) -> None:
    granted = budget.holds(prices, free_nanos=None, held_nanos=0)
    assert granted == [price or 0 for price in prices]


@given(PRICES, st.none() | st.integers(0, 500), st.integers(0, 100))
def test_a_highest_price_bars_dearer_and_unknown_ones(
    prices: list[int | None], free: int | None, most: int
) -> None:
    granted = budget.holds(prices, free_nanos=free, held_nanos=0, max_price=most)
    for price, hold in zip(prices, granted, strict=True):
        assert hold is None or (price is not None and hold == price <= most)
    if free is None:
        assert [hold is None for hold in granted] == [p is None or p > most for p in prices]


@given(st.integers(0, 10**8), st.floats(0, 1, exclude_max=True))
def test_polls_are_spaced_within_bounds(age: int, jitter: float) -> None:
    wait = cadence.next_poll(age, jitter)
    assert cadence.SHORTEST * 0.9 <= wait <= cadence.LONGEST * 1.1
    assert cadence.next_poll(age + 1000, jitter) >= wait


@given(st.integers(0, 100), st.floats(0, 1, exclude_max=True))
def test_backoff_grows_and_is_bounded(tries: int, jitter: float) -> None:
    wait = retry.backoff(tries, jitter)
    assert 0 < wait <= retry.LONGEST
    assert retry.backoff(tries + 1, jitter) >= wait


def test_every_gate_says_what_to_do() -> None:
    assert set(KINDS) == set(GateReason)


def state(
    counts: dict[State, int],
    waiting: dict[State, int] | None = None,
    *,
    wanted: Wanted = Wanted.OPEN,
    stop: Stop | None = None,
    gate: bool = False,
) -> BatchState:
    return batch_state(
        wanted=wanted, counts=counts, waiting=waiting or {}, stop=stop, gate_closed=gate
    )


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (state({State.SUCCEEDED: 2, State.FAILED: 1}), BatchState.FINISHED),
        (state({State.PENDING: 1}), BatchState.RUNNING),
        (state({State.PENDING: 1}, wanted=Wanted.PAUSED), BatchState.PAUSED),
        (state({State.QUEUED: 1}, wanted=Wanted.CANCELLED), BatchState.CANCELLING),
        (state({State.PENDING: 1}, gate=True), BatchState.BLOCKED),
        (state({State.PENDING: 1, State.QUEUED: 1}, gate=True), BatchState.RUNNING),
        (state({State.PENDING: 1}, stop=Stop.BUDGET), BatchState.BLOCKED),
        (state({State.PENDING: 1, State.UNKNOWN: 1}, stop=Stop.BUDGET), BatchState.RUNNING),
        (state({State.UNKNOWN: 1}, stop=Stop.COST_UNREADABLE), BatchState.BLOCKED),
        (state({State.UNKNOWN: 2}, {State.UNKNOWN: 2}), BatchState.BLOCKED),
        (state({State.UNKNOWN: 2}, {State.UNKNOWN: 1}), BatchState.RUNNING),
        (state({State.PROCESSING: 1}, {State.PROCESSING: 1}), BatchState.BLOCKED),
    ],
)
def test_a_batch_state_is_derived(found: BatchState, expected: BatchState) -> None:
    assert found is expected
