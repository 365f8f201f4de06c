"""When schedules run, and what becomes of missed times: pure decisions."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice, takewhile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.domain.schedule import (
    DAY,
    GRACE,
    HOUR,
    MINUTE,
    CatchUp,
    Due,
    Policy,
    TermError,
    Timetable,
    after,
    check_cron,
    check_zone,
    due,
    label,
    next_after,
)
from orchestrator.domain.schedule_terms import read_terms

NIGHTLY = Timetable("0 2 * * *", "UTC")


def at(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def labels(table: Timetable, start: str, number: int) -> list[str]:
    return [label(one) for one in islice(after(table, at(start)), number)]


# What cronsim makes of the days on which clocks change: a time that does not exist runs at the
# end of the gap, one that exists twice runs the first time, hourly ones run on every instant.
CHANGES = [
    (
        "30 2 * * *",
        "Europe/Berlin",
        "2026-03-27T12:00",
        ["2026-03-28T01:30Z", "2026-03-29T01:00Z", "2026-03-30T00:30Z"],
    ),
    (
        "30 2 * * *",
        "Europe/Berlin",
        "2026-10-23T12:00",
        ["2026-10-24T00:30Z", "2026-10-25T00:30Z", "2026-10-26T01:30Z"],
    ),
    (
        "30 * * * *",
        "Europe/Berlin",
        "2026-10-24T23:45",
        ["2026-10-25T00:30Z", "2026-10-25T01:30Z", "2026-10-25T02:30Z"],
    ),
    (
        "0,30 2,3 * * *",
        "Europe/Berlin",
        "2026-03-29T00:00",
        ["2026-03-29T01:00Z", "2026-03-29T01:30Z", "2026-03-30T00:00Z"],
    ),
    (
        "15 2 * * *",
        "America/New_York",
        "2026-03-07T12:00",
        ["2026-03-08T07:00Z", "2026-03-09T06:15Z"],
    ),
    (
        "15 1 * * *",
        "America/New_York",
        "2026-10-31T12:00",
        ["2026-11-01T05:15Z", "2026-11-02T06:15Z"],
    ),
    (
        "45 1 * * *",
        "Australia/Lord_Howe",
        "2026-04-04T12:00",
        ["2026-04-04T14:45Z", "2026-04-05T15:15Z"],
    ),
    (
        "15 2 * * *",
        "Australia/Lord_Howe",
        "2026-10-03T00:00",
        ["2026-10-03T15:30Z", "2026-10-04T15:15Z"],
    ),
    ("0 0 29 2 *", "UTC", "2026-01-01T00:00", ["2028-02-29T00:00Z", "2032-02-29T00:00Z"]),
    ("0 9 * * MON#1", "Asia/Tokyo", "2026-11-01T00:00", ["2026-11-02T00:00Z", "2026-12-07T00:00Z"]),
]


@pytest.mark.parametrize(("cron", "zone", "start", "expected"), CHANGES)
def test_the_days_on_which_clocks_change(
    cron: str, zone: str, start: str, expected: list[str]
) -> None:
    assert labels(Timetable(cron, zone), start, len(expected)) == expected


CRONS = ["30 2 * * *", "30 * * * *", "0,30 2,3 * * *", "*/7 * * * *", "5 */2 * * *"]
ZONES = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "UTC"]
MOMENTS = st.integers(at("2026-01-01"), at("2027-01-01"))
TABLES = st.builds(Timetable, st.sampled_from(CRONS), st.sampled_from(ZONES))


@given(TABLES, MOMENTS, st.integers(0, 2 * DAY))
@settings(max_examples=60, deadline=None)
def test_where_the_search_begins_changes_no_time(table: Timetable, moment: int, on: int) -> None:
    until = moment + on + DAY
    whole = list(takewhile(lambda one: one < until, after(table, moment)))
    rest = list(takewhile(lambda one: one < until, after(table, moment + on)))
    assert rest == [one for one in whole if one > moment + on]
    assert sorted(set(whole)) == whole


@given(TABLES, MOMENTS, st.lists(st.integers(0, 9 * HOUR), max_size=30), st.data())
@settings(max_examples=60, deadline=None)
def test_every_time_is_made_or_missed_once_whatever_the_clock_does(
    table: Timetable, start: int, steps: list[int], data: st.DataObject
) -> None:
    policy = Policy(catch_up=CatchUp.ALL, window=31 * DAY, most=100_000)
    last = reached = start
    now, made, missed = start, [], 0
    for step in steps:
        now += step - data.draw(st.sampled_from([0, 0, HOUR]))
        found = due(table, policy, last=last, now=now)
        last, reached = found.last, max(reached, now)
        missed += found.missed
        made += [one for one, _ in found.runs]
        assert len(found.caught_up) == found.missed
    expected = list(takewhile(lambda one: one <= reached, after(table, start)))
    assert made == expected, "each once, in order, none left out"


LATE = at("2026-06-10T02:00") + 3 * DAY + HOUR


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (Policy(), []),
        (Policy(catch_up=CatchUp.LATEST), [3]),
        (Policy(catch_up=CatchUp.LATEST, window=30 * MINUTE), []),
        (Policy(catch_up=CatchUp.ALL), [3]),
        (Policy(catch_up=CatchUp.ALL, window=7 * DAY), [1, 2, 3]),
        (Policy(catch_up=CatchUp.ALL, window=7 * DAY, most=2), [2, 3]),
    ],
)
def test_missed_times_are_counted_and_caught_up_as_told(
    policy: Policy, expected: list[int]
) -> None:
    last = at("2026-06-10T02:00")
    found = due(NIGHTLY, policy, last=last, now=LATE)
    assert found.missed == 3
    assert found.on_time == ()
    assert list(found.caught_up) == [last + day * DAY for day in expected]
    assert due(NIGHTLY, policy, last=found.last, now=LATE) == Due((), (), 0, found.last)


def test_a_run_a_little_late_is_in_time() -> None:
    last = at("2026-06-10T02:00")
    found = due(NIGHTLY, Policy(), last=last, now=last + DAY + GRACE)
    assert (found.on_time, found.missed) == ((last + DAY,), 0)
    found = due(NIGHTLY, Policy(), last=last, now=last + DAY + GRACE + 1)
    assert (found.on_time, found.missed) == ((), 1)


def test_the_latest_is_not_caught_up_beside_one_in_time() -> None:
    last = at("2026-06-10T02:00")
    policy = Policy(catch_up=CatchUp.LATEST, window=DAY * 3)
    found = due(NIGHTLY, policy, last=last, now=last + 2 * DAY)
    assert (found.on_time, found.caught_up, found.missed) == ((last + 2 * DAY,), (), 1)


def test_a_clock_that_was_a_year_ahead_does_not_silence_a_schedule_for_a_year() -> None:
    now = at("2026-06-10T12:00")
    assert due(NIGHTLY, Policy(), last=now + 365 * DAY, now=now) == Due((), (), 0, now)
    ahead = at("2026-06-11T02:00")
    assert due(NIGHTLY, Policy(), last=ahead, now=now) == Due((), (), 0, ahead), "an hour or so"


def test_a_year_of_missed_minutes_is_counted_quickly_and_not_without_end() -> None:
    every_minute = Timetable("* * * * *", "Europe/Berlin")
    policy = Policy(catch_up=CatchUp.ALL)
    found = due(every_minute, policy, last=at("2025-06-10"), now=at("2026-06-10"))
    assert found.missed == 50_000
    assert len(found.caught_up) == 5
    assert next_after(every_minute, found.last) == at("2026-06-10") + MINUTE


@pytest.mark.parametrize(
    ("cron", "said", "offset"),
    [
        ("0 25 * * *", "the hour '25' (field 2)", 2),
        ("61 2 * * *", "the minute '61' (field 1)", 0),
        ("0 2 L-3 * *", "the day of month 'L-3' (field 3)", 4),
        ("0 2 1 FOO *", "the month 'FOO' (field 4)", 6),
        ("0 2 * * 8", "the day of week '8' (field 5)", 8),
        ("0 2 31 2 *", "never comes", 4),
        ("0 2 * *", "has 4 fields, not 5", 0),
        ("0 0 2 * * *", "has 6 fields, not 5", 0),
        ("", "has 0 fields", 0),
        ("*/0 2 * * *", "the minute '*/0'", 0),
    ],
)
def test_a_wrong_cron_is_told_by_its_field(cron: str, said: str, offset: int) -> None:
    with pytest.raises(TermError) as found:
        check_cron(cron)
    assert said in found.value.message
    assert found.value.offset == offset
    assert found.value.mend


def test_common_words_for_crons() -> None:
    assert check_cron("@daily") == "0 0 * * *"
    assert check_cron("  0  2 * * MON-FRI ") == "0 2 * * MON-FRI"


@pytest.mark.parametrize(
    ("zone", "meant"),
    [
        ("europe/berlin", "Europe/Berlin"),
        ("Europe/Berln", "Europe/Berlin"),
        ("Berlin", "Europe/Berlin"),
        ("New York", "America/New_York"),
        ("../../etc/passwd", "UTC"),
        ("localtime", ""),
    ],
)
def test_an_unknown_zone_suggests_one(zone: str, meant: str) -> None:
    with pytest.raises(TermError) as found:
        check_zone(zone)
    assert meant in found.value.mend


def test_all_wrong_terms_are_told_at_once() -> None:
    terms = {
        "cron": "0 99 * * *",
        "tz": "Mars",
        "budget": "much",
        "overlap": "skp",
        "catch_up": "last",
        "catch_up_window": "3 weeks",
        "catch_up_max": "0",
        "pause_after_failures": "-1",
    }
    definition, problems = read_terms(terms, name="a b", spec="/a.csv", batch_name="a")
    assert definition is None
    assert [one.term for one in problems] == [*terms, "schedule"]


def test_terms_are_read_back_as_they_were_written() -> None:
    terms = {
        "cron": "0 2 * * *",
        "tz": "Europe/Berlin",
        "budget": "20.5",
        "overlap": "queue",
        "catch_up": "all",
        "catch_up_window": "36h",
        "catch_up_max": "7",
        "pause_after_failures": "3",
    }
    definition, problems = read_terms(terms, name="n", spec="/a.csv", batch_name="a")
    assert problems == []
    assert definition is not None
    assert definition.terms() == terms | {"spec": "/a.csv", "name": "a"}
