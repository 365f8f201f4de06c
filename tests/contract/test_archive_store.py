"""Letting go of the bulk of a finished batch, on both databases."""

from __future__ import annotations

from sqlalchemy import func, select

from orchestrator.domain.outcome import TaskStatus
from orchestrator.domain.states import State
from orchestrator.domain.submission import NeedsPerson
from orchestrator.store import archive, batches, counting, inputs, reuse, steering
from orchestrator.store import tables as t
from orchestrator.store.inputs import NewInput
from tests.support.stores import PROVIDER, Shelf, accepted, row

DONE = accepted(TaskStatus.SUCCEEDED, actual="0.05", videos=["u1"])
FAILED = accepted(TaskStatus.FAILED, code="moderation")


def finish(shelf: Shelf) -> None:
    with shelf.store.write() as tx:
        batches.finish_ended(tx)
    assert shelf.batch.finished_at is not None


def finished(shelf: Shelf) -> None:
    """A row that succeeded and one that failed."""
    shelf.publish("a", "b")
    shelf.buy("a", DONE)
    shelf.buy("b", FAILED)
    finish(shelf)


def archived(shelf: Shelf, group: int = 1) -> None:
    after = 0
    while True:
        with shelf.store.write() as tx:
            done = archive.strip(tx, shelf.batch_id, after, group)
        if done is None:
            break
        after = done.last
    with shelf.store.write() as tx:
        assert archive.finish(tx, shelf.batch_id, actor="me")


def number(shelf: Shelf, table: str) -> int:
    query = select(func.count()).select_from(t.METADATA.tables[table])
    with shelf.store.read() as tx:
        return int(tx.conn.execute(query).scalar_one())


def drop(shelf: Shelf, limit: int = 100) -> int:
    with shelf.store.write() as tx:
        return inputs.drop_unused(tx, archive.oldest_kept(tx), limit)[0]


def test_what_recognises_and_adds_up_stays(shelf: Shelf) -> None:
    finished(shelf)
    before, key = shelf.batch, shelf.stored("a/0")
    with shelf.store.read() as tx:
        counts = counting.by_state(tx, shelf.batch_id)
    archived(shelf)
    after = shelf.batch
    assert (after.actual_nanos, after.estimated_nanos, after.assumed_nanos) == (
        before.actual_nanos,
        before.estimated_nanos,
        before.assumed_nanos,
    )
    assert shelf.money_adds_up()
    kept = shelf.stored("a/0")
    assert (kept.idempotency_key, kept.life.state, kept.life.task_id, kept.life.actual_text) == (
        key.idempotency_key,
        key.life.state,
        key.life.task_id,
        key.life.actual_text,
    )
    with shelf.store.read() as tx:
        assert counting.by_state(tx, shelf.batch_id) == counts
    assert shelf.item("b").error_code == "moderation"
    assert (shelf.item("a").source, shelf.item("a").video_urls) == ({}, ())
    assert (number(shelf, "outputs"), number(shelf, "items")) == (0, 2)
    assert shelf.events("a") == []


def test_archiving_that_was_cut_short_goes_on(shelf: Shelf) -> None:
    finished(shelf)
    with shelf.store.write() as tx:
        first = archive.strip(tx, shelf.batch_id, 0, 1)
        assert first is not None
        assert [one.id for one in archive.candidates(tx, tx.now + 1)] == [shelf.batch_id]
    archived(shelf)
    with shelf.store.write() as tx:
        assert archive.candidates(tx, tx.now + 1) == []
        assert not archive.finish(tx, shelf.batch_id, actor="me")


def test_only_what_is_over_and_needs_nobody_is_archived(shelf: Shelf) -> None:
    shelf.publish("a", "b")
    held = shelf.buy("a", DONE)
    with shelf.store.write() as tx:
        assert archive.candidates(tx, tx.now + 1) == []
        assert archive.strip(tx, shelf.batch_id, 0, 10) is None
    assert shelf.item("a").source == {"prompt": "x"}
    shelf.buy("b", FAILED)
    finish(shelf)
    shelf.flag(held, NeedsPerson.COST_UNREADABLE)
    with shelf.store.read() as tx:
        assert archive.candidates(tx, tx.now + 1) == []


def test_inputs_go_when_no_kept_batch_is_as_old(shelf: Shelf) -> None:
    finished(shelf)
    archived(shelf)
    shelf.clock.now += 1000
    other = Shelf(shelf.store, shelf.clock, name="other")
    other.publish("b", "c")
    assert drop(shelf) == 1, "only `a` is used by nothing that is kept"
    with shelf.store.read() as tx:
        left = set(tx.conn.execute(select(t.inputs.c.digest)).scalars())
    assert left == {row("b").digest, row("c").digest}


def test_an_older_batch_that_is_kept_keeps_inputs(shelf: Shelf) -> None:
    other = Shelf(shelf.store, shelf.clock, name="older")
    other.publish("a")
    shelf.clock.now += 1000
    finished(shelf)
    archived(shelf)
    assert drop(shelf) == 0


def test_a_row_bought_anew_keeps_its_input_and_its_batch(shelf: Shelf) -> None:
    finished(shelf)
    archived(shelf)
    with shelf.store.write() as tx:
        found, _ = steering.retryable(tx, shelf.batch_id, codes=[], rows=[], max_generations=5)
        assert steering.retry(tx, shelf.batch_id, found["std"], actor="me") == 1
    assert (shelf.batch.archived_at, shelf.batch.finished_at) == (None, None)
    shelf.clock.now += 1000
    assert drop(shelf) == 0
    assert shelf.buy("b", DONE).life.state is State.SUCCEEDED


def test_what_has_no_input_any_more_is_not_bought_anew(shelf: Shelf) -> None:
    finished(shelf)
    archived(shelf)
    shelf.clock.now += 1000
    assert drop(shelf) == 2
    with shelf.store.write() as tx:
        assert steering.retryable(tx, shelf.batch_id, codes=[], rows=[], max_generations=5) == (
            {},
            0,
        )
        ids = [shelf.item("b").item_id]
        assert steering.retry(tx, shelf.batch_id, ids, actor="me") == 0


def test_the_same_spec_again_finds_every_row(shelf: Shelf) -> None:
    finished(shelf)
    archived(shelf)
    shelf.clock.now += 1000
    drop(shelf)
    shelf.publish("a", "b")
    assert shelf.batch.archived_at is not None
    assert number(shelf, "items") == 2
    shelf.publish("a", "b", "c")
    assert shelf.batch.archived_at is None
    assert sorted(shelf.offer("a", "b", "c")) == ["c"]


def test_archived_results_are_not_taken_over(shelf: Shelf) -> None:
    finished(shelf)
    wanted = {row("a").digest: 1}
    with shelf.store.read() as tx:
        assert reuse.earlier(tx, 0, PROVIDER, wanted)
    archived(shelf)
    with shelf.store.read() as tx:
        assert reuse.earlier(tx, 0, PROVIDER, wanted) == {}


def test_an_image_goes_with_the_last_input_that_has_it(shelf: Shelf) -> None:
    picture = "data:image/png;base64,iVBORw0KGgo="
    for digest in ("d1", "d2"):
        with shelf.store.write() as tx:
            inputs.keep(tx, [NewInput(digest, "m", f'{{"image_url":"{picture}"}}')])
        shelf.clock.now += 10
    assert number(shelf, "images") == 1
    with shelf.store.write() as tx:
        gone, images = inputs.drop_unused(tx, shelf.clock.now - 15, 100)
        assert (gone, len(images)) == (1, 1)
        assert inputs.drop_images(tx, images) == 0
        gone, images = inputs.drop_unused(tx, shelf.clock.now, 100)
        assert inputs.drop_images(tx, images) == 1
    assert number(shelf, "images") == 0
