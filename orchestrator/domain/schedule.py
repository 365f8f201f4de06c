"""When a schedule runs: cron expressions in a time zone, and what becomes of missed times.

Times are milliseconds since 1970 in UTC. A run is named by its nominal minute, also in UTC: where
clocks go back an hour, two runs may bear the same local time but never the same name.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError
from rapidfuzz import process

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR

GRACE = 5 * MINUTE
"""A run that is made this late is still in time; later, it was missed."""
AHEAD = DAY
"""A clock that has gone back further than this was wrong before: what it said is not believed."""
MOST_COUNTED = 50_000
"""Missed times that are counted one by one: a year of a run every ten minutes."""
_REACH_BACK = 3 * HOUR
"""Where the search begins before a moment: cronsim steps in local time, which may repeat hours."""

FIELDS = ("minute", "hour", "day of month", "month", "day of week")
_RANGES = ("0-59", "0-23", "1-31 or L", "1-12 or JAN-DEC", "0-7 or SUN-SAT")
_ALIASES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_ANY_TIME = datetime(2024, 1, 1, tzinfo=UTC)


class Overlap(StrEnum):
    """What a run does while an earlier one of its schedule is not finished."""

    SKIP = "skip"
    QUEUE = "queue"
    ALLOW = "allow"


class CatchUp(StrEnum):
    """Which of the missed runs are made after all."""

    NONE = "none"
    LATEST = "latest"
    ALL = "all"


class RunState(StrEnum):
    """What became of one run."""

    WAITING = "waiting"
    MADE = "made"
    FINISHED = "finished"
    FAILED = "failed"
    SKIPPED = "skipped"
    DROPPED = "dropped"


class Kind(StrEnum):
    """Why there is a run."""

    ON_TIME = "on time"
    CAUGHT_UP = "caught up"
    TRIGGERED = "triggered"


class TermError(ValueError):
    """A schedule's term that cannot be used: which one, what is wrong, the mend."""

    def __init__(self, term: str, value: str, message: str, mend: str, *, offset: int = 0) -> None:
        super().__init__(message)
        self.term = term
        self.value = value
        self.message = message
        self.mend = mend
        self.offset = offset
        """Where in the value it is wrong, counted from 0."""


@dataclass(frozen=True, slots=True)
class Timetable:
    """A cron expression and the zone it speaks of, both known to be right."""

    cron: str
    zone: str


@dataclass(frozen=True, slots=True)
class Policy:
    """How a schedule treats what goes wrong. `window` in milliseconds."""

    overlap: Overlap = Overlap.SKIP
    catch_up: CatchUp = CatchUp.NONE
    window: int = 12 * HOUR
    most: int = 5
    pause_after: int | None = None


@dataclass(frozen=True, slots=True)
class Due:
    """What a moment asks for. `missed` counts every late time, those caught up too."""

    on_time: tuple[int, ...]
    caught_up: tuple[int, ...]
    missed: int
    last: int
    """Times up to this one have been looked at."""

    @property
    def runs(self) -> tuple[tuple[int, Kind], ...]:
        late = [(at, Kind.CAUGHT_UP) for at in self.caught_up]
        return (*late, *((at, Kind.ON_TIME) for at in self.on_time))


def label(at: int) -> str:
    """A run's name: its nominal minute in UTC."""
    return datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%dT%H:%MZ")


def minute(at: int) -> int:
    """The minute that a moment is in."""
    return at - at % MINUTE


def timetable(cron: str, zone: str) -> Timetable:
    """Raises TermError, which points at the field."""
    return Timetable(check_cron(cron), check_zone(zone))


def check_cron(cron: str) -> str:
    """The expression with single spaces. Raises TermError for the first field that is wrong."""
    parts = cron.split()
    if len(parts) == 1 and parts[0].lower() in _ALIASES:
        return _ALIASES[parts[0].lower()]
    if len(parts) != len(FIELDS):
        raise TermError(
            "cron",
            cron,
            f"has {len(parts)} fields, not 5",
            'Write minute, hour, day of month, month and day of week, such as "0 2 * * *".',
        )
    offset = 0
    for index, part in enumerate(parts):
        offset = cron.index(part, offset)
        if not _is_field(index, part):
            raise TermError(
                "cron",
                cron,
                f"the {FIELDS[index]} {part!r} (field {index + 1}) cannot be read",
                f"Write {_RANGES[index]}, *, lists (1,2), ranges (1-5) or steps (*/2).",
                offset=offset,
            )
        offset += len(part)
    checked = " ".join(parts)
    if _first(checked) is None:
        raise TermError(
            "cron",
            cron,
            f"the day of month {parts[2]!r} (field 3) never comes in month {parts[3]!r} (field 4)",
            "Choose a day that the month has, or L for its last.",
            offset=cron.index(parts[2]),
        )
    return checked


def _is_field(index: int, part: str) -> bool:
    """Whether the field can be read by itself, with nothing asked of the others."""
    parts = ["*"] * len(FIELDS)
    parts[index] = part
    try:
        CronSim(" ".join(parts), _ANY_TIME)
    except (CronSimError, ValueError, TypeError, AssertionError):
        return False
    return True


def _first(cron: str) -> datetime | None:
    try:
        return next(CronSim(cron, _ANY_TIME), None)
    except (CronSimError, ValueError, TypeError, OverflowError):
        return None


def check_zone(zone: str) -> str:
    """A zone by its name of the IANA database. Raises TermError with the nearest one."""
    known = available_timezones() - {"localtime", "Factory"}
    if zone == "UTC" or zone in known:
        return zone
    if not known:
        mend = "Install the system's time zone data (tzdata), or write UTC."
        raise TermError("tz", zone, "cannot be looked up: this machine knows no zones", mend)
    by_folded = {name.casefold(): name for name in known}
    meant = by_folded.get(zone.casefold()) or _nearest(zone, known)
    mend = f"Did you mean {meant}?" if meant else "Write one such as Europe/Berlin, or UTC."
    raise TermError("tz", zone, "is not a time zone", mend)


def _nearest(zone: str, known: set[str]) -> str | None:
    """The likeliest zone, by the whole name or by its city."""
    wanted = zone.strip().replace(" ", "_").casefold()
    names = {name: name.casefold() for name in sorted(known)}
    found = process.extractOne(wanted, names, score_cutoff=75)
    if found is None:
        cities = {name: folded.rpartition("/")[2] for name, folded in names.items()}
        found = process.extractOne(wanted.rpartition("/")[2], cities, score_cutoff=80)
    return None if found is None else str(found[2])


def after(table: Timetable, moment: int) -> Iterator[int]:
    """The schedule's times after a moment, in order, each once."""
    zone = UTC if table.zone == "UTC" else ZoneInfo(table.zone)
    begin = datetime.fromtimestamp((moment - _REACH_BACK) / 1000, zone)
    last = moment
    for found in CronSim(table.cron, begin):
        at = round(found.timestamp() * 1000)
        if at > last:
            last = at
            yield at


def next_after(table: Timetable, moment: int) -> int | None:
    return next(after(table, moment), None)


def due(table: Timetable, policy: Policy, *, last: int, now: int) -> Due:
    """What is to be made of the times after `last` and up to `now`.

    A clock that went back a little has nothing due until it has passed `last` again; one that
    went back far was wrong, and counts from now on.
    """
    if last > now + AHEAD:
        return Due((), (), 0, now)
    punctual = now - GRACE
    missed = _number(_between(table, last, punctual))
    on_time = tuple(_between(table, max(last, punctual - 1), now + 1))
    caught_up: Sequence[int] = ()
    if missed and policy.catch_up is not CatchUp.NONE:
        most = policy.most if policy.catch_up is CatchUp.ALL else 1
        kept = deque(_between(table, max(last, now - policy.window - 1), punctual), maxlen=most)
        if policy.catch_up is CatchUp.ALL or not on_time:
            caught_up = kept
    # Later than any time that was counted, and no later than the first that was not.
    seen = on_time[-1] if on_time else max(last, punctual - 1) if missed else last
    return Due(on_time, tuple(caught_up), missed, seen)


def _between(table: Timetable, start: int, end: int) -> Iterator[int]:
    """The times after `start` and before `end`."""
    return itertools.takewhile(lambda at: at < end, after(table, start))


def _number(times: Iterator[int]) -> int:
    return sum(1 for _ in itertools.islice(times, MOST_COUNTED))
