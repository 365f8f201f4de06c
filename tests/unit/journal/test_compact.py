"""A compacted journal is smaller and remembers the same, also where compacting was cut short."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.domain.outcome import TaskStatus
from orchestrator.domain.recovery import merge
from orchestrator.domain.states import State
from orchestrator.domain.submission import Decision, Policy, Submission
from orchestrator.journal import (
    Book,
    Damage,
    Intent,
    JournalWriter,
    Outcome,
    OutcomeKind,
    Record,
    Terminal,
    Unknown,
    VerdictKind,
    read,
    read_batch,
)
from orchestrator.journal.compact import compact
from orchestrator.journal.record import to_line
from tests.support.journal_histories import (
    LABEL,
    NAME,
    NAMESPACE,
    SENT,
    Content,
    Purchase,
    batches,
    spread,
    write_files,
)
from tests.support.journal_records import RECORDS

NOW = SENT + 600_000
POLICY = Policy(deadline=6 * 3_600_000, retention=24 * 3_600_000)
LIVES = [
    None,
    Submission(State.PENDING),
    Submission(State.SUBMITTING, tries=1, first_sent_at=SENT, hold_nanos=5),
    Submission(State.UNKNOWN, tries=1, first_sent_at=SENT, hold_nanos=5, unresolved=True),
]
KEPT = sorted(["intent", "outcome", "terminal"])


class Cut(Exception):
    """Compacting was cut short here."""


def here(directory: Path) -> Book:
    return read_batch([directory], namespace=NAMESPACE, name=NAME, label=LABEL)


def untried(decision: Decision | None) -> Decision | None:
    """Without the number of tries, which three lines do not tell."""
    return decision and decision._replace(after=decision.after._replace(tries=0))


def meaning(directory: Path) -> object:
    """What a merge makes of a journal, whatever a database knows beside it."""
    book = here(directory)
    decisions = {
        key: [untried(merge(life, told, now=NOW, policy=POLICY)) for life in LIVES]
        for key, told in book.submissions.items()
    }
    return book.batch, book.control, decisions, book.first_intent_at


def records_in(directory: Path) -> list[Record]:
    return [entry for entry in read(directory) if not isinstance(entry, Damage)]


def kinds_in(directory: Path) -> list[str]:
    return sorted(type(record).__name__.lower() for record in records_in(directory))


def ended(key: str = "k") -> list[Record]:
    """A purchase of three tries with its end: seven lines."""
    purchase = Purchase(key)
    return [
        purchase.intent(1),
        purchase.outcome(1, OutcomeKind.AMBIGUOUS),
        purchase.intent(2),
        purchase.outcome(2, OutcomeKind.NOTHING_CHARGED),
        purchase.intent(3),
        purchase.outcome(3, OutcomeKind.ACCEPTED),
        purchase.terminal(TaskStatus.SUCCEEDED, actual="0.05"),
    ]


@settings(max_examples=30)
@given(data=st.data(), records=batches())
def test_a_compacted_journal_means_the_same(data: st.DataObject, records: list[Record]) -> None:
    contents: list[Content] = data.draw(spread(records))
    with TemporaryDirectory() as place:
        directory = Path(place)
        write_files(directory, contents)
        expected = meaning(directory)
        first = compact(directory)
        assert meaning(directory) == expected
        again = compact(directory)
        assert meaning(directory) == expected
    assert first.files_after == 1
    assert again.bytes_before == again.bytes_after == first.bytes_after <= first.bytes_before


@settings(max_examples=30)
@given(data=st.data(), records=batches())
def test_a_crash_while_old_files_are_removed_changes_nothing(
    data: st.DataObject, records: list[Record]
) -> None:
    contents = data.draw(spread(records))
    with TemporaryDirectory() as place:
        directory = Path(place)
        old = write_files(directory, contents)
        expected = meaning(directory)

        def cut(_old: Sequence[str], _new: Sequence[str]) -> None:
            raise Cut

        with pytest.raises(Cut):
            compact(directory, moved=cut)
        assert all(path.exists() for path in old)
        assert meaning(directory) == expected
        for path in data.draw(st.sets(st.sampled_from(old))):
            path.unlink()
        assert meaning(directory) == expected
        compact(directory)
        assert meaning(directory) == expected


@settings(max_examples=25)
@given(data=st.data(), records=batches())
def test_a_crash_while_the_new_file_is_written_changes_nothing(
    data: st.DataObject, records: list[Record]
) -> None:
    contents = data.draw(spread(records))
    with TemporaryDirectory() as place:
        directory = Path(place)
        write_files(directory, contents)
        expected = meaning(directory)

        def cut(_old: Sequence[str], new: Sequence[str]) -> None:
            for name in new:
                whole = (directory / name).read_bytes()
                (directory / name).write_bytes(whole[: data.draw(st.integers(0, len(whole)))])
            raise Cut

        with pytest.raises(Cut):
            compact(directory, moved=cut)
        assert meaning(directory) == expected
        compact(directory)
        assert meaning(directory) == expected


@settings(max_examples=25)
@given(records=st.lists(RECORDS, max_size=6))
def test_what_has_no_end_keeps_every_line(records: list[Record]) -> None:
    open_ones = [one for one in records if not isinstance(one, Terminal)]
    with TemporaryDirectory() as place:
        write_files(Path(place), [open_ones[:3], open_ones[3:]])
        before = [one for one in records_in(Path(place)) if not hasattr(one, "name")]
        compact(Path(place))
        after = [one for one in records_in(Path(place)) if not hasattr(one, "name")]
    assert after == before


def test_of_a_purchase_that_ended_three_lines_are_left(tmp_path: Path) -> None:
    write_files(tmp_path, [ended()])
    compacted = compact(tmp_path)
    assert kinds_in(tmp_path) == KEPT
    assert (compacted.files_before, compacted.files_after, compacted.kept) == (1, 1, ())
    assert compacted.bytes_after == sum(p.stat().st_size for p in tmp_path.iterdir())
    assert compacted.bytes_after < compacted.bytes_before


@pytest.mark.parametrize("reverse", [False, True])
def test_it_is_the_first_intent_that_is_left_wherever_it_stands(
    tmp_path: Path, reverse: bool
) -> None:
    records = ended()
    write_files(tmp_path, [records[::-1] if reverse else records])
    compact(tmp_path)
    intents = [one for one in records_in(tmp_path) if isinstance(one, Intent)]
    assert intents == [records[0]]


def test_verdicts_and_kinds_of_a_newer_version_are_kept(tmp_path: Path) -> None:
    verdict = Purchase("k").verdict(VerdictKind.ADOPTED)
    newer = Unknown(kind="later", extra='{"colour":"red"}')
    write_files(tmp_path, [[*ended(), verdict, newer]])
    compact(tmp_path)
    assert verdict in records_in(tmp_path)
    assert newer in records_in(tmp_path)


def test_a_file_that_is_being_written_and_a_damaged_one_stay_as_they_are(tmp_path: Path) -> None:
    busy, old, damaged = ended("busy"), ended("old"), ended("damaged")
    lines = b"".join(map(to_line, damaged))
    write_files(tmp_path, [old])
    (tmp_path / "damaged.journal").write_bytes(b"no record\n" + lines)
    writer = JournalWriter(tmp_path)
    writer.append(busy)
    assert writer.path is not None
    content = writer.path.read_bytes()
    compacted = compact(tmp_path)
    assert set(compacted.kept) == {"damaged.journal", writer.path.name}
    assert writer.path.read_bytes() == content
    assert (tmp_path / "damaged.journal").read_bytes() == b"no record\n" + lines
    assert compacted.files_before == 1
    writer.close()
    assert sorted(here(tmp_path).submissions) == ["busy", "damaged", "old"]


def test_a_torn_tail_is_cut_off(tmp_path: Path) -> None:
    records = ended()
    (tmp_path / "a.journal").write_bytes(b"".join(map(to_line, records)) + b"0123")
    assert compact(tmp_path).kept == ()
    assert not [entry for entry in read(tmp_path) if isinstance(entry, Damage)]
    assert kinds_in(tmp_path) == KEPT


def test_an_end_in_a_file_that_stays_does_not_shorten_the_others(tmp_path: Path) -> None:
    records = ended()
    write_files(tmp_path, [records[:-1]])
    writer = JournalWriter(tmp_path)
    writer.append(records[-1:])
    compact(tmp_path)
    writer.close()
    assert len(records_in(tmp_path)) == len(records)


def test_the_new_names_are_told_while_the_old_files_are_there(tmp_path: Path) -> None:
    write_files(tmp_path, [ended("a"), ended("b")])
    told: list[tuple[list[str], list[str]]] = []

    def moved(old: Sequence[str], new: Sequence[str]) -> None:
        assert all((tmp_path / name).exists() for name in (*old, *new))
        told.append((list(old), list(new)))

    compact(tmp_path, moved=moved)
    ((old, new),) = told
    assert old == ["0.journal", "1.journal"]
    assert [path.name for path in tmp_path.iterdir()] == new


def test_nothing_is_made_of_nothing(tmp_path: Path) -> None:
    assert compact(tmp_path / "absent").files_before == 0
    assert not (tmp_path / "absent").exists()


def test_of_two_ends_the_one_that_a_merge_takes_is_kept(tmp_path: Path) -> None:
    purchase = Purchase("k")
    intent = purchase.intent(1)
    assumed = purchase.terminal(TaskStatus.SUCCEEDED, actual=None)
    exact = purchase.terminal(TaskStatus.SUCCEEDED, actual="0.05")
    write_files(tmp_path, [[intent, assumed, exact]])
    before = meaning(tmp_path)
    compact(tmp_path)
    assert meaning(tmp_path) == before


def test_of_two_acceptances_the_earlier_is_kept(tmp_path: Path) -> None:
    records = ended()
    replayed = purchase_replayed(records)
    write_files(tmp_path, [[replayed, *records]])
    before = meaning(tmp_path)
    compact(tmp_path)
    assert meaning(tmp_path) == before


def purchase_replayed(records: Sequence[Record]) -> Outcome:
    """The acceptance once more, as another worker got it later."""
    (accepted,) = (
        one for one in records if isinstance(one, Outcome) and one.kind is OutcomeKind.ACCEPTED
    )
    return replace(accepted, at=accepted.at + 60_000)
