"""Schedules on both databases: every time one batch, or said why not."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.domain.batch import Wanted
from orchestrator.domain.schedule import DAY, HOUR, MINUTE, Kind, RunState, label
from orchestrator.errors import OrchestratorError, SpecError, UsageError
from orchestrator.services import recurrence, schedule_files, schedule_views, scheduling
from orchestrator.store import batches, intake, occurrences, prices, schedules
from orchestrator.store import tables as t
from orchestrator.store.engine import Store
from tests.support.planner import Died, MortalStore, Planner
from tests.support.stores import PRICE, PROVIDER

NIGHTLY = "0 2 * * *"


@pytest.fixture
def planner(store: Store, tmp_path: Path) -> Planner:
    with store.write() as tx:
        for table in reversed(t.METADATA.sorted_tables):
            tx.conn.execute(table.delete())
    return Planner(store, tmp_path)


@pytest.fixture
def nightly(planner: Planner) -> Planner:
    planner.add("nightly", planner.write("night.csv", "a moon"), NIGHTLY)
    return planner


def test_each_time_makes_one_batch_named_by_its_minute(nightly: Planner) -> None:
    assert nightly.tick().won == 0
    expected = []
    for _ in range(3):
        at = nightly.next("nightly")
        expected.append(f"night@{label(at)}")
        report = nightly.tick(at=at + 3_000)
        assert (report.won, report.made) == (1, 1)
        assert nightly.tick(at=at + 8_000).won == 0
        nightly.end_batches()
    assert nightly.titles() == expected
    assert expected[0].endswith("T02:00Z")
    nightly.tick()
    assert nightly.states("nightly") == ["finished"] * 3


def test_two_beats_at_once_make_one_batch(nightly: Planner) -> None:
    nightly.clock.now = nightly.next("nightly") + 1_000
    ready = threading.Barrier(4)
    errors: list[Exception] = []

    def beat() -> None:
        ready.wait()
        try:
            nightly.tick()
        except Exception as error:  # noqa: BLE001 whatever it is, the test shows it
            errors.append(error)

    beats = [threading.Thread(target=beat) for _ in range(4)]
    for one in beats:
        one.start()
    for one in beats:
        one.join()
    assert errors == []
    nightly.tick()
    assert len(nightly.titles()) == 1
    assert nightly.prompts(nightly.titles()[0]) == ["a moon"]


def test_a_trigger_in_the_minute_of_a_run_is_that_run(nightly: Planner) -> None:
    nightly.clock.now = nightly.next("nightly") + 1_000
    run, new = scheduling.trigger(nightly.context, "nightly")
    assert (new, run.state) == (True, RunState.MADE)
    again, new = scheduling.trigger(nightly.context, "nightly")
    assert (again.id, new) == (run.id, False)
    assert nightly.tick().won == 0
    assert nightly.titles() == [run.title]
    nightly.clock.now += MINUTE
    assert scheduling.trigger(nightly.context, "nightly")[1]


def test_the_minute_outlives_the_schedule(nightly: Planner) -> None:
    at = nightly.next("nightly")
    nightly.tick(at=at + 1_000)
    removed = scheduling.remove(nightly.context, "nightly")
    assert [run.title for run in removed.going_on] == [f"night@{label(at)}"]
    nightly.clock.now = at - 1_000
    nightly.add("again", nightly.write("night.csv", "another moon"), NIGHTLY)
    assert nightly.tick(at=at + 2_000).won == 0
    assert nightly.titles() == [f"night@{label(at)}"]


@pytest.mark.parametrize("back", [HOUR, DAY + HOUR])
def test_a_clock_set_back_makes_no_second_run(nightly: Planner, back: int) -> None:
    at = nightly.next("nightly")
    nightly.tick(at=at + 1_000)
    for step in range(0, back + HOUR, 20 * MINUTE):
        nightly.tick(at=at - back + step)
        nightly.end_batches()
    with nightly.store.read() as tx:
        assert len(batches.all_batches(tx)) == len(set(nightly.titles()))
    assert nightly.prompts(f"night@{label(at)}") == ["a moon"]
    assert (len(nightly.titles()) == 1) == (back == HOUR)
    nightly.tick(at=at + DAY)
    assert f"night@{label(at + DAY)}" in nightly.titles()


def test_a_clock_that_was_a_year_ahead_is_forgotten(nightly: Planner) -> None:
    at = nightly.next("nightly")
    nightly.tick(at=at + 365 * DAY)
    nightly.tick(at=at - HOUR)
    nightly.end_batches()
    nightly.tick(at=at)
    assert nightly.titles()[-1] == f"night@{label(at)}"


def test_a_run_keeps_the_content_of_its_moment(nightly: Planner) -> None:
    at = nightly.next("nightly")
    with nightly.store.write() as tx:
        definition = nightly.schedule("nightly").definition
        content = (nightly.folder / "night.csv").read_bytes()
        won = occurrences.win(
            tx, definition, label=label(at), nominal_at=at, kind=Kind.ON_TIME, content=content
        )
    assert won
    nightly.write("night.csv", "an edited moon")
    nightly.tick(at=at)
    assert nightly.prompts(f"night@{label(at)}") == ["a moon"]
    nightly.end_batches()
    nightly.tick(at=at + DAY)
    assert nightly.prompts(f"night@{label(at + DAY)}") == ["an edited moon"]


@pytest.mark.parametrize("damage", ["gone", "broken", "folder"])
def test_a_spec_that_cannot_be_taken_is_a_failed_run_with_an_event(
    nightly: Planner, damage: str
) -> None:
    spec = nightly.folder / "night.csv"
    if damage == "broken":
        spec.write_text("prompt,size\na moon,1:7\n")
    else:
        spec.unlink()
    if damage == "folder":
        spec.mkdir()
    at = nightly.next("nightly")
    assert nightly.tick(at=at).failed == 1
    assert nightly.tick(at=at + 5_000).failed == 0
    (run,) = nightly.runs("nightly")
    assert run.state is RunState.FAILED
    (event,) = nightly.events("failed")
    assert event["batch"] == f"night@{label(at)}"
    assert str(spec) in event["message"]
    assert event["mend"]
    assert [str(spec) in problem for problem in event["problems"]] == [True] * (damage == "broken")
    assert nightly.titles() == []
    assert not scheduling.trigger(nightly.context, "nightly")[1], "this minute has failed"
    nightly.clock.now += MINUTE
    with pytest.raises(SpecError):
        scheduling.trigger(nightly.context, "nightly")
    assert len(nightly.runs("nightly")) == 1, "a person is told at once; nothing is recorded"


def test_a_schedule_that_fails_again_and_again_pauses_itself(planner: Planner) -> None:
    spec = planner.write("night.csv", "a moon")
    planner.add("nightly", spec, NIGHTLY, pause_after_failures="2")
    planner.tick(at=planner.next("nightly"))
    planner.end_batches("failed")
    planner.tick()
    assert planner.schedule("nightly").failures == 1
    assert planner.schedule("nightly").paused_at is None
    spec.unlink()
    planner.tick(at=planner.next("nightly"))
    paused = planner.schedule("nightly")
    assert (paused.failures, paused.paused_why) == (2, "2 runs in a row failed")
    assert [event["code"] for event in planner.events("failed")] == ["no_success", "bad_spec"]
    assert [event["failures"] for event in planner.events("paused")] == [2]
    assert planner.tick(at=planner.clock.now + 3 * DAY).won == 0
    planner.write("night.csv", "a moon")
    resumed, changed = scheduling.resume(planner.context, "nightly")
    assert changed
    assert resumed.failures == 0
    assert planner.tick().missed == 0, "what was due meanwhile was not missed"
    report = planner.tick(at=planner.next("nightly"))
    assert (report.made, report.missed) == (1, 0)


def test_one_success_forgives_earlier_failures_and_a_cancel_is_no_failure(
    planner: Planner,
) -> None:
    planner.add("n", planner.write("n.csv", "a moon"), NIGHTLY, pause_after_failures="2")
    for state in ("failed", "succeeded", "failed"):
        planner.tick(at=planner.next("n"))
        planner.end_batches(state)
        planner.tick()
    assert planner.schedule("n").failures == 1
    planner.tick(at=planner.next("n"))
    with planner.store.write() as tx:
        tx.conn.execute(t.batches.update().values(wanted="cancelled"))
    planner.end_batches("withdrawn")
    planner.tick()
    assert planner.schedule("n").paused_at is None
    assert planner.states("n") == ["failed", "finished", "failed", "finished"]


@pytest.mark.parametrize(
    ("overlap", "after_second", "at_last"),
    [
        ("skip", ["made", "skipped"], ["finished", "skipped"]),
        ("queue", ["made", "waiting"], ["finished", "made"]),
        ("allow", ["made", "made"], ["finished", "finished"]),
    ],
)
def test_a_run_while_an_earlier_one_goes_on(
    planner: Planner, overlap: str, after_second: list[str], at_last: list[str]
) -> None:
    planner.add("n", planner.write("n.csv", "a moon"), NIGHTLY, overlap=overlap)
    planner.tick(at=planner.next("n"))
    planner.tick(at=planner.next("n"))
    assert planner.states("n") == after_second
    planner.end_batches()
    planner.tick()
    assert planner.states("n") == at_last


def test_missed_runs_are_counted_and_told_and_not_made_unless_told(nightly: Planner) -> None:
    first = nightly.next("nightly")
    report = nightly.tick(at=first + 2 * DAY + HOUR)
    assert (report.won, report.missed) == (0, 3)
    schedule = nightly.schedule("nightly")
    assert (schedule.missed, schedule.missed_at) == (3, nightly.clock.now)
    (event,) = nightly.events("missed")
    assert (event["missed"], event["caught_up"]) == (3, [])
    assert nightly.tick().missed == 0
    assert nightly.titles() == []


def test_all_missed_runs_take_turns_capped_and_their_cost_is_told_before(planner: Planner) -> None:
    with planner.store.write() as tx:
        prices.learn(tx, PROVIDER, {_class(planner): PRICE})
    spec = planner.write("n.csv", "a moon", "a star")
    terms = {"catch_up": "all", "catch_up_window": "7d", "catch_up_max": "3", "budget": "2"}
    planner.add("n", spec, NIGHTLY, **terms)
    first = planner.next("n")
    planner.tick(at=first + 9 * DAY + HOUR)
    expected = [label(first + day * DAY) for day in (7, 8, 9)]
    assert [run.label for run in planner.runs("n")] == expected
    assert planner.states("n") == ["made", "waiting", "waiting"], "one at a time"
    (event,) = planner.events("catching_up")
    assert event["runs"] == expected
    assert event["cost"] == {"low": "0.2484", "high": "0.2484", "known": True}
    assert event["budget"] == "6"
    assert planner.schedule("n").missed == 10
    for _ in range(3):
        planner.end_batches()
        planner.tick()
    assert planner.titles() == [f"n@{one}" for one in expected]


def _class(planner: Planner) -> str:
    """The price class of a plain row."""
    read = recurrence.read_spec(
        planner.context, planner.write("price.csv", "x"), "price", "default"
    )
    assert read.plan is not None
    return next(iter(read.plan.classes))


def test_the_latest_missed_run_is_caught_up_alone(planner: Planner) -> None:
    terms = {"catch_up": "latest", "catch_up_window": "2d"}
    planner.add("n", planner.write("n.csv", "a moon"), NIGHTLY, **terms)
    first = planner.next("n")
    planner.tick(at=first + 4 * DAY + HOUR)
    (run,) = planner.runs("n")
    assert (run.nominal_at, run.kind) == (first + 4 * DAY, Kind.CAUGHT_UP)


@pytest.mark.parametrize("committed", [False, True])
@pytest.mark.parametrize("nth", range(8))
def test_a_death_anywhere_leaves_one_batch_in_the_end(
    store: Store, tmp_path: Path, nth: int, committed: bool, planner: Planner
) -> None:
    mortal = MortalStore(store.url, clock=planner.clock)
    dying = Planner(mortal, tmp_path)
    dying.add("n", dying.write("n.csv", "a moon", "a star"), NIGHTLY)
    at = dying.next("n")
    mortal.fate = (nth, committed)
    died = False
    try:
        dying.tick(at=at)
    except Died:
        died = True
    assert died or nth > 4, "there are that many writes at least"
    mortal.close()
    dying.write("n.csv", "an edited moon")
    # The lock of the dead on its half-read batch lapses.
    for _ in range(3):
        planner.tick(at=planner.clock.now + 31_000)
    title = f"n@{label(at)}"
    assert planner.titles() == [title]
    kept = planner.prompts(title)
    if nth == 0 and not committed:
        assert kept == ["an edited moon"], "nobody had won it"
    else:
        assert kept == ["a moon", "a star"]


def test_a_queued_run_of_a_removed_schedule_is_not_made(planner: Planner) -> None:
    planner.add("n", planner.write("n.csv", "a moon"), NIGHTLY, overlap="queue")
    planner.tick(at=planner.next("n"))
    planner.tick(at=planner.next("n"))
    removed = scheduling.remove(planner.context, "n")
    assert (len(removed.going_on), removed.dropped) == (1, 1)
    planner.end_batches()
    planner.tick()
    assert planner.states("n") == ["finished", "dropped"]


def test_a_paused_schedule_makes_nothing_but_what_is_triggered(planner: Planner) -> None:
    planner.add("n", planner.write("n.csv", "a moon"), NIGHTLY)
    at = planner.next("n")
    assert scheduling.pause(planner.context, "n")[1]
    assert not scheduling.pause(planner.context, "n")[1]
    assert planner.tick(at=at + DAY).won == 0
    assert scheduling.trigger(planner.context, "n")[0].state is RunState.MADE
    seen = schedule_views.look(planner.context, planner.schedule("n"), times=5, runs=5).as_json()
    assert (seen["state"], seen["next"]) == ("paused", [])


def test_a_batch_that_a_person_cancelled_meanwhile_stays_cancelled(planner: Planner) -> None:
    planner.add("n", planner.write("n.csv", "a moon"), NIGHTLY)
    at = planner.next("n")
    planner.tick(at=at)
    with planner.store.write() as tx:
        tx.conn.execute(t.occurrences.update().values(state="waiting", batch_id=None))
        tx.conn.execute(t.batches.update().values(wanted="cancelled"))
    planner.tick()
    assert planner.states("n") == ["made"]
    assert _batch(planner, at).wanted is Wanted.CANCELLED


def _batch(planner: Planner, at: int) -> batches.Batch:
    with planner.store.read() as tx:
        found = batches.find(tx, "n", label(at))
    assert found is not None
    return found


def test_names_are_taken_once(nightly: Planner) -> None:
    spec = nightly.folder / "night.csv"
    with pytest.raises(UsageError, match="already"):
        nightly.add("nightly", spec, NIGHTLY)
    with pytest.raises(UsageError, match="makes batches named night"):
        nightly.add("second", spec, NIGHTLY)
    nightly.add("second", spec, NIGHTLY, name="evening")
    assert [one.name for one in nightly.every()] == ["nightly", "second"]


def test_a_lost_race_for_a_schedule_changes_nothing(nightly: Planner) -> None:
    schedule = nightly.schedule("nightly")
    with nightly.store.write() as tx:
        assert schedules.advance(tx, schedule, last=5, next_at=schedule.next_at, missed=1)
        assert not schedules.advance(tx, schedule, last=6, next_at=8, missed=1)
    assert nightly.schedule("nightly").missed == 1
    with nightly.store.write() as tx:
        schedules.pause(tx, "nightly", "a person")
        now = schedules.find(tx, "nightly")
        assert now is not None
        assert not schedules.advance(tx, now, last=6, next_at=8, missed=1)


def test_a_late_tick_does_not_open_an_ended_run_again(nightly: Planner) -> None:
    nightly.tick(at=nightly.next("nightly"))
    nightly.end_batches()
    nightly.tick()
    (run,) = nightly.runs("nightly")
    assert run.batch_id is not None
    with nightly.store.write() as tx:
        assert not occurrences.made(tx, run, run.batch_id)
        assert not occurrences.end(tx, replace(run, state=RunState.MADE), RunState.FAILED)
    assert nightly.states("nightly") == ["finished"]


def test_a_run_whose_batch_somebody_is_reading_waits_its_turn(nightly: Planner) -> None:
    at = nightly.next("nightly")
    nightly.clock.now = at
    with nightly.store.write() as tx:
        made = batches.create(
            tx,
            name="night",
            label=label(at),
            namespace="",
            key_version=1,
            provider=PROVIDER,
            budget_nanos=None,
        )
        assert made is not None
        assert intake.lock(tx, made.id, "another")
    nightly.tick()
    assert nightly.states("nightly") == ["waiting"]
    with nightly.store.write() as tx:
        intake.unlock(tx, made.id, "another")
    nightly.tick()
    assert nightly.states("nightly") == ["made"]


def test_what_waits_while_its_schedule_is_paused_is_made_afterwards(planner: Planner) -> None:
    planner.add("n", planner.write("n.csv", "a moon"), NIGHTLY, overlap="queue")
    planner.tick(at=planner.next("n"))
    planner.tick(at=planner.next("n"))
    scheduling.pause(planner.context, "n")
    planner.end_batches()
    planner.tick()
    assert planner.states("n") == ["finished", "waiting"]
    scheduling.resume(planner.context, "n")
    planner.tick()
    assert planner.states("n") == ["finished", "made"]


def test_a_file_of_schedules_is_compared_and_applied_as_one(nightly: Planner) -> None:
    file = nightly.folder / "schedules.yaml"
    file.write_text(
        "schedules:\n"
        "  nightly:\n    spec: night.csv\n    cron: 0 3 * * *\n    budget: 5\n"
        "  weekly:\n    spec: night.csv\n    name: weekly\n    cron: 0 4 * * MON\n"
    )
    nightly.add("old", nightly.folder / "night.csv", NIGHTLY, name="old", overlap="queue")
    nightly.tick(at=nightly.next("old"))
    nightly.tick(at=nightly.next("old"))
    wanted = schedule_files.read_file(nightly.context, file)
    difference = schedule_files.compare(nightly.context, wanted, prune=False)
    assert [(one.name, one.verb) for one in difference.changes] == [
        ("nightly", "change"),
        ("weekly", "add"),
    ]
    assert difference.changes[0].fields == {
        "cron": (NIGHTLY, "0 3 * * *"),
        "budget": (None, "5"),
    }
    assert difference.others == ("old",)
    schedule_files.apply(nightly.context, difference)
    with pytest.raises(OrchestratorError, match="changed meanwhile"):
        schedule_files.apply(nightly.context, difference)
    pruned = schedule_files.compare(nightly.context, wanted, prune=True)
    assert [one.verb for one in pruned.changes] == ["keep", "keep", "remove"]
    schedule_files.apply(nightly.context, pruned)
    assert [one.name for one in nightly.every()] == ["nightly", "weekly"]
    assert nightly.states("old") == ["made", "dropped"]
    assert schedule_files.compare(nightly.context, wanted, prune=True).empty


def test_another_timetable_does_not_make_up_for_times_before_it(nightly: Planner) -> None:
    at = nightly.next("nightly")
    nightly.clock.now = at - MINUTE
    file = nightly.folder / "schedules.yaml"
    file.write_text("schedules:\n  nightly:\n    spec: night.csv\n    cron: 0 * * * *\n")
    nightly.clock.now = at + HOUR
    wanted = schedule_files.read_file(nightly.context, file)
    schedule_files.apply(
        nightly.context, schedule_files.compare(nightly.context, wanted, prune=False)
    )
    assert nightly.tick().missed == 0
    assert nightly.next("nightly") == at + 2 * HOUR


def test_every_problem_of_a_file_is_told_with_its_place(nightly: Planner) -> None:
    nightly.write("ok.csv", "x")
    (nightly.folder / "bad.csv").write_text("prompt,size\nx,3:3\n")
    file = nightly.folder / "schedules.yaml"
    file.write_text(
        'schedules:\n  a:\n    spec: ok.csv\n    cron: "0 31 * * *"\n    tz: Europe/Berln\n'
        "  a:\n    spec: gone.csv\n"
        "  b:\n    spec: bad.csv\n    cron: 0 4 * * MON\n    overlp: skip\n"
        "  c:\n    cron: 0 4 * * *\n"
        "  d:\n    spec: ok.csv\n    cron: 0 4 * * *\n"
        "  e:\n    spec: ok.csv\n    cron: 0 5 * * *\n"
        "  f: 7\n"
    )
    with pytest.raises(SpecError) as found:
        schedule_files.read_file(nightly.context, file)
    places = [(one.line, one.column, one.field) for one in found.value.problems]
    assert places == [
        (4, 14, "cron"),
        (5, 9, "tz"),
        (6, 3, "a"),
        (9, 11, "spec"),
        (11, 5, "overlp"),
        (12, 3, "spec"),
        (17, 3, "name"),
        (20, 3, "f"),
    ]
    assert "size" in found.value.problems[3].message
