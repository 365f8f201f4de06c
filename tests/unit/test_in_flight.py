"""Room for more tasks: of an account, and of single models."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.in_flight import NO_LIMIT, PLENTY, InFlight, Room, model_of
from orchestrator.domain.models import models, price_classes

MODELS = st.sampled_from(["a", "b", "c"])


def test_a_price_class_tells_its_model() -> None:
    assert {model_of(name) for name in price_classes()} == set(models())


@given(
    st.none() | st.integers(-2, 6),
    st.dictionaries(MODELS, st.integers(-2, 4)),
    st.lists(MODELS, max_size=12),
)
def test_no_more_are_admitted_than_there_is_room_for(
    most: int | None, by_model: dict[str, int], wanted: list[str]
) -> None:
    room = Room(most, by_model)
    admits = room.admits(wanted)
    taken = [model for model, fits in zip(wanted, admits, strict=True) if fits]
    assert most is None or len(taken) <= max(0, most)
    assert all(taken.count(model) <= max(0, left) for model, left in by_model.items())
    left = room.less(taken)
    for model, fits in zip(wanted, admits, strict=True):
        # Nobody is left behind for whom there would still be room.
        assert fits or left.admits([model]) == [False]


def test_room_is_what_the_limit_leaves_beside_what_runs() -> None:
    room = InFlight(10, {"a": 3, "b": 2}).room({"a": 1, "c": 4})
    assert room == Room(5, {"a": 2, "b": 2})
    assert InFlight(None, {"a": 3}).room({"a": 5, "b": 1}).full == ["a"]
    assert Room(3).bound(50) == 3
    assert PLENTY.bound(50) == 50
    assert not NO_LIMIT
    assert InFlight(5)
