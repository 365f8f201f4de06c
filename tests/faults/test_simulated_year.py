"""A month of schedules, twice, over the days on which clocks change (tests/support/year.py).

`SIMULATED_DAYS=366` makes it a year.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.support.year import Year

DAYS = int(os.environ.get("SIMULATED_DAYS", "30"))


@pytest.mark.parametrize(
    ("seed", "start"),
    [(7, datetime(2026, 3, 5, tzinfo=UTC)), (8, datetime(2026, 10, 3, tzinfo=UTC))],
)
def test_every_time_has_one_batch_or_was_missed(tmp_path: Path, seed: int, start: datetime) -> None:
    outcome = Year(tmp_path, seed, DAYS, round(start.timestamp() * 1000)).run()
    assert outcome.wrong == []
    assert outcome.missed["berlin"] == outcome.missed["howe"] == 0
    assert outcome.made["berlin"] >= DAYS
    assert outcome.missed["york"] > 0, "a simulation in which nothing goes wrong shows nothing"
    assert outcome.happened["deaths in the middle"] > 5
