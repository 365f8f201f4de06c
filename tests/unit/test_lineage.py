"""Telling a database that went back from one that went on."""

from __future__ import annotations

import pytest

from orchestrator.domain.lineage import Identity, Sighting, replaced, went_back

SEEN = Sighting(timeline=1, position=500, at=0)


@pytest.mark.parametrize(
    ("now", "back"),
    [
        (Sighting(1, 500, 9), False),
        (Sighting(1, 900, 9), False),
        (Sighting(1, 499, 9), True),
        (Sighting(2, 900, 9), True),
        (Sighting(2, 100, 9), True),
    ],
)
def test_a_log_that_ends_earlier_or_on_another_timeline_lost_something(
    now: Sighting, back: bool
) -> None:
    assert (went_back(SEEN, now) is not None) is back


@pytest.mark.parametrize(
    ("recorded", "found", "other"),
    [
        (Identity("a", 1), Identity("a", 1), False),
        (Identity("a", 1), Identity("a", 2), True),
        (Identity("a", 1), Identity("b", 1), True),
        (Identity("a", 1), Identity("", 1), False),
        (Identity("", 1), Identity("b", 1), False),
        (Identity("", None), Identity("b", 3), False),
        (Identity("a", 2), Identity("", None), False),
    ],
)
def test_only_what_both_say_tells_two_servers_apart(
    recorded: Identity, found: Identity, other: bool
) -> None:
    assert (replaced(recorded, found) is not None) is other
