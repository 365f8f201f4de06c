"""The one row that bars the way, and the journals it waits for; on both databases."""

from __future__ import annotations

from dataclasses import replace

from orchestrator.domain.batch import Wanted
from orchestrator.domain.lineage import Identity
from orchestrator.store import claims, lineage, restoring, steering
from orchestrator.store.lineage import File
from tests.support.stores import Shelf

SERVER = Identity("s", 1)


def closed_with_files(shelf: Shelf, *names: str) -> None:
    with shelf.store.write() as tx:
        lineage.lock(tx, SERVER)
        for name in names:
            restoring.register_journal(tx, name, name.partition("-")[0])
        lineage.close(tx, "timeline 2", replace(SERVER, timeline=2))


def missing(shelf: Shelf) -> list[str]:
    with shelf.store.read() as tx:
        return [file.name for file in lineage.missing(tx)]


def opens(shelf: Shelf, grace: int = 0) -> bool:
    with shelf.store.write() as tx:
        return lineage.open_again(tx, grace=grace)


def test_the_way_is_open_until_somebody_closes_it(shelf: Shelf) -> None:
    with shelf.store.write() as tx:
        assert lineage.read(tx) is None
        assert lineage.closed(tx) is None
        made = lineage.lock(tx, SERVER)
        assert lineage.lock(tx, Identity("other", 7)) == made
        assert (made.identity, made.closed_at) == (SERVER, None)


def test_sending_waits_for_every_file_that_may_know_more(shelf: Shelf) -> None:
    closed_with_files(shelf, "a-1", "a-2", "b-1")
    with shelf.store.write() as tx:
        restoring.register_journal(tx, "c-new", "c")
        assert lineage.closed(tx) == "timeline 2"
        assert lineage.missing(tx) == [File("a-1", "a"), File("a-2", "a"), File("b-1", "b")]
        lineage.learned(tx, ["a-1", "a-2", "unheard-of"], "a", over=["a-1"])
    assert not opens(shelf)
    with shelf.store.write() as tx:
        lineage.learned(tx, ["b-1"], "b")
        assert restoring.incomplete_journals(tx, ["a-1", "a-2", "nobody's"]) == ["a-2", "nobody's"]
    assert not opens(shelf, grace=10)
    shelf.clock.now += 10
    assert opens(shelf, grace=10)
    assert not opens(shelf)


def test_each_time_it_goes_back_the_files_still_written_to_count_anew(shelf: Shelf) -> None:
    closed_with_files(shelf, "a-1", "a-2")
    with shelf.store.write() as tx:
        lineage.learned(tx, ["a-1", "a-2"], "a", over=["a-1"])
        lineage.close(tx, "again", SERVER)
    assert missing(shelf) == ["a-2"]
    with shelf.store.write() as tx:
        lineage.close(tx, "late")
    assert missing(shelf) == ["a-2"], "a closing without an identity begins no epoch"


def test_a_file_is_complete_only_in_the_epoch_of_its_writer(shelf: Shelf) -> None:
    with shelf.store.write() as tx:
        epoch = lineage.lock(tx, SERVER).epoch
    closed_with_files(shelf, "a-1")
    with shelf.store.write() as tx:
        lineage.complete(tx, ["a-1"], epoch=epoch)
    assert missing(shelf) == ["a-1"]
    with shelf.store.write() as tx:
        now = lineage.read(tx)
        assert now is not None
        lineage.complete(tx, ["a-1"], epoch=now.epoch)
    assert missing(shelf) == []


def test_a_machine_that_is_gone_can_be_waived_and_may_come_back(shelf: Shelf) -> None:
    closed_with_files(shelf, "a-1", "b-1")
    with shelf.store.write() as tx:
        assert lineage.waive(tx, "a") == ["a-1"]
        assert lineage.waive(tx, "a") == []
        lineage.close(tx, "again", SERVER)
        assert restoring.incomplete_journals(tx, ["a-1"]) == ["a-1"]
    assert missing(shelf) == ["b-1"]


def test_compaction_of_a_whole_journal_is_waited_for_by_nobody(shelf: Shelf) -> None:
    closed_with_files(shelf, "a-1", "a-2", "a-3")
    with shelf.store.write() as tx:
        lineage.learned(tx, ["a-1", "a-2"], "a", over=["a-1", "a-2"])
        restoring.replace_journals(tx, ["a-1", "a-2"], ["a-4"], "a")
        restoring.replace_journals(tx, ["a-3"], ["a-5"], "a")
        lineage.close(tx, "again", SERVER)
    assert missing(shelf) == ["a-5"]


def test_a_lost_batch_is_known_until_it_is_found_again(shelf: Shelf) -> None:
    with shelf.store.write() as tx:
        lineage.note_lost(tx, "a", {("x", "default"): 3, ("y", "default"): 1})
        lineage.note_lost(tx, "b", {("x", "default"): 2})
        assert lineage.lost_hosts(tx, "x", "default") == ["a", "b"]
        lineage.found_again(tx, "x", "default", ["a"])
        assert lineage.lost_hosts(tx, "x", "default") == ["b"]
        lineage.note_lost(tx, "a", {})
        assert [one.name for one in lineage.lost(tx)] == ["x"]


def test_a_persons_word_counts_unless_a_later_one_is_known(shelf: Shelf) -> None:
    shelf.publish("a")
    with shelf.store.write() as tx:
        steering.want(tx, shelf.batch_id, Wanted.OPEN, actor="me")
        at = tx.now

    def word(wanted: Wanted, at: int) -> bool:
        with shelf.store.write() as tx:
            return steering.want_as_of(
                tx, shelf.batch_id, wanted, budget_nanos=5, at=at, actor="me"
            )

    assert not word(Wanted.PAUSED, at - 1)
    assert shelf.batch.wanted is Wanted.OPEN
    shelf.clock.now += 5
    assert word(Wanted.CANCELLED, at + 1)
    assert (shelf.batch.wanted, shelf.batch.budget_nanos) == (Wanted.CANCELLED, 5)
    assert shelf.states() == {"a": "withdrawn"}


def test_a_chunk_is_of_one_batch_whatever_its_message_says(shelf: Shelf) -> None:
    shelf.publish("a")
    other = Shelf(shelf.store, shelf.clock, name="other")
    other.publish("b")
    ids = [shelf.item("a").item_id, other.item("b").item_id]
    with shelf.store.write() as tx:
        found = claims.candidates(tx, ids)
    assert len({one.batch_id for one in found}) == 1
