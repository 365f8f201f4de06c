"""Errors travel from a pool's processes as they are."""

from __future__ import annotations

import pickle

from orchestrator.errors import Problem, ServiceError, SpecError


def test_an_error_survives_the_way_to_another_process() -> None:
    problem = Problem("a.csv", 2, 1, None, None, "too long", "Shorten it.")
    for error in (
        ServiceError("away", mend="Wait.", code="database"),
        SpecError("bad", mend="Mend it.", problems=[problem]),
    ):
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is type(error)
        assert (str(again), again.as_json()) == (str(error), error.as_json())
