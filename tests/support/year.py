"""A simulated year of schedules: ticks, crashes, stops, and clocks that are set wrong.

`python -m tests.support.year --days 366 --seed 7` tells expected occurrences and batches made.
The process dies in the middle of its writes, nothing runs for hours or days, two beats tick at
once, a person triggers runs, and the clock is an hour ahead or behind for a while. Whatever
happens, each time of a schedule has one batch or was counted as missed, and none has two.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import takewhile
from pathlib import Path

from sqlalchemy import event

from orchestrator.domain.schedule import DAY, HOUR, MINUTE, Kind, RunState, after, label
from orchestrator.errors import UsageError
from orchestrator.services import scheduling
from tests.support.migrated import migrated
from tests.support.planner import Died, MortalStore, Planner
from tests.support.stores import Clock

ROWS = ("a red moon", "a blue moon")
SCHEDULES = {
    # Every time is made, sooner or later.
    "berlin": ("30 2 * * *", "Europe/Berlin", "all"),
    "howe": ("15 */8 * * *", "Australia/Lord_Howe", "all"),
    # Missed ones are only counted, or the latest of them is made.
    "york": ("15 1 * * *", "America/New_York", "none"),
    "apia": ("0 5,17 * * *", "Pacific/Apia", "latest"),
}


@dataclass
class Outcome:
    """Schedule -> its times, the batches of them, and those that were missed for good."""

    expected: dict[str, int] = field(default_factory=dict)
    made: dict[str, int] = field(default_factory=dict)
    missed: dict[str, int] = field(default_factory=dict)
    triggered: int = 0
    happened: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


@dataclass
class Year:
    """One simulated stretch of time, from a seed."""

    folder: Path
    seed: int
    days: int
    start: int = round(datetime(2026, 3, 5, tzinfo=UTC).timestamp() * 1000)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.clock = Clock()
        self.clock.now = self.start
        self.store = MortalStore(migrated(self.folder / "year.db"), clock=self.clock)
        # A year of commits need not survive a power cut.
        event.listen(
            self.store.engine,
            "connect",
            lambda connection, _: connection.execute("PRAGMA synchronous=OFF"),
        )
        self.planner = Planner(self.store, self.folder)
        self.happened: Counter[str] = Counter()
        self.skew = 0

    def run(self) -> Outcome:
        for name, (cron, zone, catch_up) in SCHEDULES.items():
            spec = self.planner.write(f"{name}.csv", *ROWS)
            terms = {"tz": zone, "catch_up": catch_up, "overlap": "queue"}
            if catch_up == "all":
                terms |= {"catch_up_window": "31d", "catch_up_max": "100"}
            self.planner.add(name, spec, cron, **terms)
        true, end = self.start, self.start + self.days * DAY
        while true < end:
            true += self._step()
            self._set_clock(true)
            self._something_happens()
            self._tick()
            self._batches_end()
        self.skew = 0
        # The world calms down; clocks that were ahead have to be caught up with.
        for _ in range(40):
            true += 30 * MINUTE
            self.clock.now = true
            self._tick(mortal=False)
            self.planner.end_batches()
        while any(run.state is RunState.WAITING for name in SCHEDULES for run in self._runs(name)):
            self._tick(mortal=False)
            self.planner.end_batches()
        self._tick(mortal=False)
        return self._outcome(true)

    def _step(self) -> int:
        """Minutes mostly, hours at times, days now and then."""
        fate = self.random.random()
        if fate < 0.004:
            self.happened["days without a worker"] += 1
            return self.random.randrange(1 * DAY, 4 * DAY)
        if fate < 0.05:
            self.happened["hours without a worker"] += 1
            return self.random.randrange(HOUR, 9 * HOUR)
        coming = [one.next_at for one in self.planner.every() if one.next_at is not None]
        wait = max(0, min(coming, default=self.clock.now + HOUR) - self.clock.now)
        return max(5_000, min(wait + self.random.randrange(20_000), 6 * HOUR))

    def _set_clock(self, true: int) -> None:
        fate = self.random.random()
        if self.skew and fate < 0.3:
            self.skew = 0
        elif not self.skew and fate < 0.04:
            self.skew = self.random.choice([-HOUR, HOUR])
            self.happened["clock an hour " + ("ahead" if self.skew > 0 else "behind")] += 1
        self.clock.now = true + self.skew

    def _something_happens(self) -> None:
        fate = self.random.random()
        if fate < 0.03:
            name = self.random.choice(["berlin", "howe"])
            with suppress(UsageError):
                scheduling.trigger(self.planner.context, name)
            self.happened["triggers"] += 1
        elif fate < 0.05:
            self.happened["edits of a spec"] += 1
            self.planner.write(f"{self.random.choice(list(SCHEDULES))}.csv", *ROWS[::-1])

    def _tick(self, *, mortal: bool = True) -> None:
        if mortal and self.random.random() < 0.15:
            self.store.fate = (self.random.randrange(9), self.random.random() < 0.5)
        for _ in range(self.random.choice([1, 1, 2])):
            try:
                self.planner.tick()
            except Died:
                self.happened["deaths in the middle"] += 1
                self.store.revive()
        self.store.revive()

    def _batches_end(self) -> None:
        if self.random.random() < 0.5:
            self.planner.end_batches()

    def _runs(self, name: str) -> Sequence:
        return self.planner.runs(name)

    def _outcome(self, end: int) -> Outcome:
        outcome = Outcome(happened=self.happened)
        titles = Counter(self.planner.titles())
        outcome.wrong += [f"{title}: {n} batches" for title, n in titles.items() if n > 1]
        for name in SCHEDULES:
            self._judge(name, end, titles, outcome)
        return outcome

    def _judge(self, name: str, end: int, titles: Counter[str], outcome: Outcome) -> None:
        schedule = self.planner.schedule(name)
        times = takewhile(lambda at: at <= end, after(schedule.definition.table, self.start))
        expected = {f"{name}@{label(at)}" for at in times}
        runs = self._runs(name)
        triggered = {run.title for run in runs if run.kind is Kind.TRIGGERED}
        mine = {title for title in titles if title.startswith(f"{name}@")}
        outcome.expected[name] = len(expected)
        outcome.made[name] = len(mine & expected)
        outcome.missed[name] = len(expected - mine)
        outcome.triggered += len(triggered - expected)
        said = outcome.wrong
        said += [f"{title} was not expected" for title in sorted(mine - expected - triggered)]
        if schedule.definition.policy.catch_up.value == "all":
            said += [f"{title} was not made" for title in sorted(expected - mine)]
        on_time = sum(run.kind is Kind.ON_TIME for run in runs)
        taken = len(expected & triggered)
        if not 0 <= len(expected) - on_time - schedule.missed <= taken:
            counted = f"{on_time} in time and {schedule.missed} missed"
            said.append(f"{name}: {counted}, of {len(expected)} times")
        said += [
            f"{run.title} is {run.state}" for run in runs if run.state is not RunState.FINISHED
        ]
        said += [
            f"{title} has other rows"
            for title in sorted(mine)
            if sorted(self.planner.prompts(title)) != sorted(ROWS)
        ]


def main() -> None:
    parser = argparse.ArgumentParser(description="Simulate a year of schedules.")
    parser.add_argument("--days", type=int, default=366)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        outcome = Year(Path(folder), given.seed, given.days).run()
    print(f"seed {given.seed}, {given.days} days: ", end="")
    print(", ".join(f"{number} {what}" for what, number in sorted(outcome.happened.items())))
    for name, (cron, zone, catch_up) in SCHEDULES.items():
        print(
            f"{name:7} {cron:13} {zone:20} catch-up {catch_up:7}"
            f"expected {outcome.expected[name]:5}  batches {outcome.made[name]:5}  "
            f"missed for good {outcome.missed[name]:4}"
        )
    print(f"triggered beside these: {outcome.triggered}; wrong: {len(outcome.wrong)}")
    for one in outcome.wrong[:20]:
        print(f"  {one}")
    raise SystemExit(bool(outcome.wrong))


if __name__ == "__main__":
    main()
