"""When a batch will be done: sane at the edges, near the truth in a simulated provider."""

from __future__ import annotations

import heapq
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.forecast import SAMPLE, End, forecast

ENDS = st.lists(
    st.builds(End, at=st.integers(0, 10**9), took=st.integers(0, 10**8)), max_size=SAMPLE
)


@given(ENDS, st.integers(0, 10**6), st.integers(0, 10**5), st.integers(0, 10**8))
def test_low_likely_high_are_in_order(
    ends: list[End], unsent: int, running: int, youngest: int
) -> None:
    found = forecast(ends, now=10**9, unsent=unsent, running=running, youngest=youngest)
    if found is None:
        assert len(ends) < 3 or unsent + running == 0
    else:
        assert 0 <= found.low <= found.likely <= found.high


def simulate(rows: int, slots: int, sigma: float, seed: int) -> tuple[list[tuple[int, int]], int]:
    """(accepted, ended) of each row, `slots` of them made at a time; when all is done."""
    draw = random.Random(seed)
    busy = [0] * slots
    made = []
    for _ in range(rows):
        begin = heapq.heappop(busy)
        end = begin + round(60_000 * draw.lognormvariate(0, sigma))
        heapq.heappush(busy, end)
        made.append((begin, end))
    return made, max(busy)


@pytest.mark.parametrize("sigma", [0.1, 0.3, 0.8])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_the_truth_lies_in_the_spread(sigma: float, share: float) -> None:
    inside = 0
    for seed in range(20):
        made, done = simulate(600, 20, sigma, seed)
        ends = sorted((end, end - begin) for begin, end in made)
        now = ends[int(share * len(ends))][0]
        past = [End(at, took) for at, took in ends if at <= now][-SAMPLE:]
        begun = [begin for begin, end in made if begin <= now < end]
        unsent = sum(begin > now for begin, _ in made)
        found = forecast(
            past, now=now, unsent=unsent, running=len(begun), youngest=now - max(begun)
        )
        assert found is not None
        inside += found.low <= done - now <= found.high
    assert inside >= 17
