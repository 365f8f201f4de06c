"""Weeks of schedules over the days on which clocks change (tests/support/year.py).

`SIMULATED_DAYS=366` makes them a year.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.support.year import Year

DAYS = int(os.environ.get("SIMULATED_DAYS", "0"))


@pytest.mark.parametrize(
    ("seed", "start", "days"),
    [(7, datetime(2026, 3, 7, tzinfo=UTC), 25), (8, datetime(2026, 10, 23, tzinfo=UTC), 12)],
)
def test_every_time_has_one_batch_or_was_missed(
    tmp_path: Path, seed: int, start: datetime, days: int
) -> None:
    days = DAYS or days
    outcome = Year(tmp_path, seed, days, round(start.timestamp() * 1000)).run()
    assert outcome.wrong == []
    assert outcome.missed["berlin"] == outcome.missed["howe"] == 0
    assert outcome.made["berlin"] >= days
    assert outcome.missed["york"] > 0, "a simulation in which nothing goes wrong shows nothing"
    assert outcome.happened["deaths in the middle"] > 5
