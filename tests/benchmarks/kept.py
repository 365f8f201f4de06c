"""The figures of a run, kept as JSON beside what it prints: `build/bench.json`."""

from __future__ import annotations

import json
from pathlib import Path

from tests.benchmarks import machine

PATH = Path("build") / "bench.json"


def keep(part: str, figures: object) -> None:
    """Put one part's figures in place of its earlier ones, with the machine's."""
    told = json.loads(PATH.read_text()) if PATH.exists() else {}
    PATH.parent.mkdir(exist_ok=True)
    told |= {"machine": machine.figures(), part: figures}
    PATH.write_text(json.dumps(told, indent=1) + "\n")
