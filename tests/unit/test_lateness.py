"""How late ends were noticed only adds up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.lateness import BOUNDS, Lateness, from_json, notice
from orchestrator.domain.sketch import Span

spans = st.lists(
    st.builds(lambda low, late: Span(low, low + late), st.integers(0, 10**9), st.integers(0, 10**7))
)


@given(spans, spans)
def test_each_end_is_counted_once_whatever_the_groups(first: list[Span], then: list[Span]) -> None:
    together = notice(Lateness(), first + then)
    assert notice(notice(Lateness(), first), then) == together
    assert sum(together.counts) == len(first + then)
    assert together.total == sum(span.high - span.low for span in first + then)
    assert from_json(together.to_json()) == together


def test_a_bin_holds_what_is_not_later_than_its_end() -> None:
    found = notice(Lateness(), [Span(0, 1_000), Span(0, 1_001), Span(5, 10_000_000)])
    assert found.counts[:2] == (1, 1)
    assert found.counts[-1] == 1
    assert len(found.counts) == len(BOUNDS) + 1


@pytest.mark.parametrize("text", ["null", "[]", "[[1],2]", '[["x"],1]', "[[-1],0]", "{", "[[],0]"])
def test_what_is_no_lateness_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no lateness"):
        from_json(text)
