"""What people do all day: batches of many kinds, steered while they run."""

from __future__ import annotations

import csv
import itertools
import json
import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from tests.support.composed import Fleet

OPEN = 4
"""Batches that run beside each other."""
LAST_SECONDS = 300


class Work:
    """Submits a batch whenever fewer than OPEN are running. `submitted`: rows up to now."""

    def __init__(self, fleet: Fleet, seed: random.Random) -> None:
        self._fleet = fleet
        self._random = seed
        self._numbers = itertools.count(1)
        self._specs = fleet.mounts("cli")["/work"]
        self._specs.mkdir(parents=True)
        self._open: list[str] = []
        self.submitted = 0
        self.kinds: Counter[str] = Counter()

    def go_on(self) -> None:
        """One look at what runs, and one thing done."""
        self._look()
        if len(self._open) < OPEN:
            kinds = (self._small, self._large, self._matrix, self._canary, self._budget)
            self._submit(self._random.choice(kinds))
        elif self._random.random() < 0.5:
            self._steer(self._random.choice(self._open))

    def ended(self) -> str:
        """Wait for what runs, and hold the provider's ledger against what was recorded.

        Raises AssertionError where they differ.
        """
        for name in self._open:
            # A canary or a budget may have stopped it; whoever looks lets it go on.
            self._command("resume", name, "--budget", "1000")
        end = time.monotonic() + LAST_SECONDS
        while self._open:
            assert time.monotonic() < end, f"not finished: {self._open}"
            self._look()
        ledger = httpx.get(f"http://{self._fleet.address('sandbox')}:8790/_sandbox/ledger").json()
        names = [one["batch"] for one in json.loads(self._fleet.run("cli", "batches", "--json"))]
        rows = [row for name in names for row in self._results(name)]
        # What the provider failed at is bought anew where the spec says so: one more charge each.
        anew = [int(row["generation"]) for row in rows if row["generation"]]
        sent = [row for row in rows if row["state"] in {"succeeded", "failed", "cancelled"}]
        assert {row["state"] for row in rows} <= {"succeeded", "failed", "cancelled", "withdrawn"}
        assert ledger["charged_twice"] == len(anew), (ledger, anew)
        assert ledger["charges"] == len(sent) + sum(anew), (ledger, len(sent), anew)
        kinds = ", ".join(f"{kind} x {number}" for kind, number in sorted(self.kinds.items()))
        return (
            f"{len(names)} batches ({kinds}); {len(sent):,} of {self.submitted:,} rows sent, "
            f"{sum(anew)} bought anew after a failure, {ledger['charges']:,} charges"
        )

    def _results(self, batch: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(
            self._fleet.run("cli", "results", batch, "--format", "json")
        )
        return found

    def _look(self) -> None:
        """Forget the batches that are finished."""
        told = self._command("batches", "--json")
        over = {one["name"] for one in json.loads(told or "[]") if one["state"] == "finished"}
        self._open = [name for name in self._open if name not in over]

    def _submit(self, kind: Callable[[str], tuple[Path, int, list[str]]]) -> None:
        name = f"{kind.__name__.strip('_')}{next(self._numbers)}"
        path, rows, options = kind(name)
        if self._command("submit", path.name, "--yes", *options):
            self._open.append(name)
            self.submitted += rows
            self.kinds[kind.__name__.strip("_")] += 1

    def _steer(self, name: str) -> None:
        """Held for a moment, or given more money."""
        if self._random.random() < 0.5:
            self._command("pause", name)
            self._command("resume", name)
        else:
            self._command("resume", name, "--budget", "1000")

    def _command(self, *arguments: str) -> str:
        """What a command said; nothing where it failed, as it may while a server restarts."""
        try:
            return self._fleet.run("cli", *arguments)
        except AssertionError:
            return ""

    def _csv(self, name: str, rows: int) -> Path:
        path = self._specs / f"{name}.csv"
        with path.open("w", newline="") as file:
            lines = ([f"r{i}", f"{name}: a kite, take {i}"] for i in range(rows))
            csv.writer(file).writerows([["id", "prompt"], *lines])
        return path

    def _small(self, name: str) -> tuple[Path, int, list[str]]:
        rows = self._random.randint(5, 40)
        return self._csv(name, rows), rows, []

    def _large(self, name: str) -> tuple[Path, int, list[str]]:
        rows = self._random.randint(200, 400)
        return self._csv(name, rows), rows, ["--priority", str(self._random.randint(1, 5))]

    def _canary(self, name: str) -> tuple[Path, int, list[str]]:
        return self._csv(name, 80), 80, ["--canary", "5", "--canary-failures", "90%"]

    def _budget(self, name: str) -> tuple[Path, int, list[str]]:
        return self._csv(name, 50), 50, ["--budget", "1.0"]

    def _matrix(self, name: str) -> tuple[Path, int, list[str]]:
        path = self._specs / f"{name}.yaml"
        path.write_text(
            f"prompts: ['{name} dawn', '{name} dusk']\nsizes: [16:9, 9:16]\n"
            "durations: [5, 10]\nseeds: {count: 5, from: 1}\nretries: 1\n"
        )
        return path, 40, []
