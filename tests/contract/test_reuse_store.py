"""Taking over earlier successes: on both databases, one result for one row, nothing left behind."""

from __future__ import annotations

from sqlalchemy import func, select

from orchestrator.domain.outcome import TaskStatus
from orchestrator.domain.states import State
from orchestrator.store import batches, downloads, intake, reuse, views
from orchestrator.store import tables as t
from orchestrator.store.reuse import Reuse
from tests.support.stores import PROVIDER, Shelf, accepted, row

S = State


def succeed(shelf: Shelf, row_key: str, *videos: str, task_id: str = "task_1") -> None:
    bought = shelf.buy(row_key, accepted(task_id=task_id))
    end = accepted(TaskStatus.SUCCEEDED, actual="0.04", videos=videos, task_id=task_id)
    shelf.poll(bought, end)


def second(shelf: Shelf) -> Shelf:
    """Another batch in the same database."""
    return Shelf(shelf.store, shelf.clock, name="again")


def offered(shelf: Shelf, *texts: str, provider: str = PROVIDER) -> list[str]:
    """The tasks that a batch's rows of these inputs may take over."""
    with shelf.store.read() as tx:
        digests = {row("x", text=text).digest: texts.count(text) for text in texts}
        found = reuse.earlier(tx, shelf.batch_id, provider, digests)
    return sorted(one.task_id for several in found.values() for one in several)


def stage(shelf: Shelf, *row_keys: str, text: str) -> tuple[int, int]:
    """Rows of one input staged; (their revision, how many take something over)."""
    staged = [row(row_key, text=text) for row_key in row_keys]
    with shelf.store.write() as tx:
        revision = intake.begin(tx, shelf.batch_id, source="a.csv", actor="me")
        last = intake.last_position(tx, shelf.batch_id)
        intake.stage(tx, shelf.batch_id, revision, staged, after_position=last, compare=True)
        found = reuse.earlier(tx, shelf.batch_id, PROVIDER, {staged[0].digest: len(staged)})
        pairs = zip(staged, found.get(staged[0].digest, []), strict=False)
        items = reuse.staged(tx, shelf.batch_id, revision, row_keys)
        wanted = [
            Reuse(items[one.row_key], "std", f"{shelf.name}/{one.row_key}", earlier)
            for one, earlier in pairs
        ]
        reuse.put(tx, shelf.batch_id, wanted)
        return revision, len(wanted)


def publish(shelf: Shelf, revision: int) -> None:
    with shelf.store.write() as tx:
        intake.publish(
            tx, shelf.batch_id, revision, rows=1, columns=[], prune=False, resend_changed=False,
            actor="me", reusing=True,
        )  # fmt: skip


def test_a_staged_row_takes_over_what_another_batch_has(shelf: Shelf) -> None:
    shelf.publish("a")
    succeed(shelf, "a", "u1", "u2")
    again = second(shelf)
    revision, number = stage(again, "x", "y", text="a")
    assert number == 1, "one result is for one row: takes are videos of their own"
    with shelf.store.read() as tx:
        difference = intake.difference(tx, again.batch_id, revision, reuse=True)
        (told,) = reuse.taken(tx, revision, 0, 10)
        assert downloads.unsaved(tx, again.batch_id, "/v", downloads.START, 9) == []
    assert (difference.added, difference.reused, difference.to_send) == (2, 1, 1)
    assert (told.task_id, told.videos, told.reused_from) == (
        "task_1",
        ("u1", "u2"),
        "b@default row a",
    )
    publish(again, revision)
    item = again.item("x")
    assert (item.state, item.actual_nanos, item.video_urls) == (S.SUCCEEDED, 0, ("u1", "u2"))
    assert (item.task_id, item.reused_from) == ("task_1", "b@default row a")
    assert again.states() == {"x": S.SUCCEEDED, "y": S.PENDING}
    assert again.events("x") == ["reuse"]
    assert again.money_adds_up()
    assert again.batch.committed_nanos == 0
    with shelf.store.read() as tx:
        assert reuse.count(tx, again.batch_id) == 1
        assert [one.url for one in downloads.unsaved(
            tx, again.batch_id, "/v", downloads.START, 9
        )] == ["u1", "u2"]  # fmt: skip
        assert views.latest_ends(tx, again.batch_id, 9) == [], "it took no time"
    assert shelf.item("a").reused_from is None


def test_what_may_be_taken_over(shelf: Shelf) -> None:
    shelf.publish("a", row("b", text="b"), row("twin", text="b"), "open", "bad")
    for number, row_key in enumerate(("a", "b", "twin")):
        succeed(shelf, row_key, "u", task_id=f"t{number}")
    shelf.buy("open", accepted(task_id="t8"))
    end = accepted(TaskStatus.FAILED, actual="0.04", code="boom", task_id="t9")
    shelf.poll(shelf.buy("bad", accepted(task_id="t9")), end)
    again = second(shelf)
    assert offered(again, "a", "b", "open", "bad", "else") == ["t0", "t1", "t2"]
    assert offered(shelf, "a", "b") == [], "its own rows are videos of their own"
    assert offered(again, "a", provider="http://elsewhere") == []
    revision, number = stage(again, "x", text="b")
    publish(again, revision)
    assert number == 1
    assert offered(again, "b") == ["t1"], "the newest went first, and is used now"
    third = Shelf(shelf.store, shelf.clock, name="third")
    assert offered(third, "b") == ["t1", "t2"], "what was taken over is no source itself"


def test_only_a_few_are_looked_at_however_many_there_are(shelf: Shelf) -> None:
    shelf.publish(*[row(f"r{n}", text="a") for n in range(reuse.SPARE + 3)])
    for n in range(reuse.SPARE + 3):
        succeed(shelf, f"r{n}", "u", task_id=f"t{n}")
    assert len(offered(second(shelf), "a")) == reuse.SPARE + 1


def test_a_reading_that_is_given_up_leaves_nothing(shelf: Shelf) -> None:
    shelf.publish("a")
    succeed(shelf, "a", "u")
    again = second(shelf)
    stage(again, "x", text="a")
    with shelf.store.write() as tx:
        intake.sweep(tx, again.batch_id)
        query = select(func.count()).where(t.submissions.c.batch_id == again.batch_id)
        assert tx.conn.execute(query).scalar_one() == 0
        intake.forget_unpublished(tx, again.batch_id)
        assert batches.find(tx, "again", "default") is None


def test_an_edited_row_that_was_sent_takes_nothing_over(shelf: Shelf) -> None:
    shelf.publish("a")
    succeed(shelf, "a", "u")
    again = second(shelf)
    again.publish(row("x", text="old"))
    again.buy("x", accepted(task_id="t7"))
    revision, number = stage(again, "x", text="a")
    assert number == 1
    with shelf.store.write() as tx:
        intake.forget_unwanted(tx, again.batch_id, revision)
        assert reuse.taken(tx, revision, 0, 9) == []
    publish(again, revision)
    assert again.states() == {"x": S.QUEUED}
