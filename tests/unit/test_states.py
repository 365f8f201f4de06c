"""The transition table, and the page that draws it."""

from __future__ import annotations

from pathlib import Path

from orchestrator.domain.diagram import BEGIN, END, mermaid
from orchestrator.domain.states import IN_FLIGHT, OPEN, POLLED, TERMINAL, TRANSITIONS, Event, State

PAGE = Path(__file__).parents[2] / "docs" / "lifecycle.md"


def test_the_page_draws_the_table() -> None:
    text = PAGE.read_text(encoding="utf-8")
    drawn = text[text.index(BEGIN) : text.index(END) + len(END)]
    assert drawn == mermaid()


def test_the_page_names_every_state() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert all(f"`{state}`" in text for state in State)


def test_every_state_can_be_reached_but_invalid_which_is_born_so() -> None:
    reached = {State.PENDING} | set(TRANSITIONS.values())
    assert set(State) - reached == {State.INVALID}


def test_a_success_is_final() -> None:
    assert not [event for (source, event) in TRANSITIONS if source is State.SUCCEEDED]


def test_leaving_an_end_is_only_a_decision() -> None:
    left = {event for (source, event) in TRANSITIONS if source in TERMINAL}
    assert left == {Event.RETRY, Event.REVIVE, Event.SUCCEED}
    assert TRANSITIONS[State.FAILED, Event.SUCCEED] is State.SUCCEEDED, "late is not lost"


def test_the_sets_of_states_fit() -> None:
    assert set(State) == OPEN | TERMINAL
    assert POLLED < IN_FLIGHT < OPEN
