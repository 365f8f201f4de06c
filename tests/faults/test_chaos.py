"""A short run of `make chaos` with a seed of its own each time; a failure prints it."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.support import chaos


@pytest.mark.timeout(600)
def test_everything_at_once_charges_every_row_once(tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(1_000_000)
    print(f"seed {seed}: python -m tests.support.chaos --rows 60 --seed {seed}")
    deeds = chaos.run(tmp_path, rows=60, seed=seed)
    assert sum(deeds.values()) > 0
