"""What all journals together say of a batch, whatever order their files are read in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.domain.outcome import TaskStatus
from orchestrator.domain.recovery import Told, merge
from orchestrator.domain.states import State
from orchestrator.domain.submission import Decision, Policy, Submission
from orchestrator.journal import (
    Batch,
    Book,
    JournalWriter,
    OutcomeKind,
    Record,
    VerdictKind,
    knows,
    paths,
    read_batch,
    written_now,
)
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
from tests.support.journal_records import BATCHES, CONTROLS, INTENTS, TEXTS

NOW = SENT + 600_000
POLICY = Policy(deadline=6 * 3_600_000, retention=24 * 3_600_000)
K = OutcomeKind


def read_here(*directories: Path) -> Book:
    return read_batch(directories, namespace=NAMESPACE, name=NAME, label=LABEL)


def book_of(contents: Sequence[Sequence[Record]]) -> Book:
    with TemporaryDirectory() as directory:
        write_files(Path(directory), contents)
        return read_here(Path(directory))


def told_of(*records: Record) -> Told:
    (told,) = book_of([records]).submissions.values()
    return told


def merged(told: Told, before: Submission | None = None) -> Decision | None:
    return merge(before, told, now=NOW, policy=POLICY)


@settings(max_examples=30)
@given(data=st.data(), records=batches())
def test_the_order_of_files_and_doubled_records_mean_nothing(
    data: st.DataObject, records: list[Record]
) -> None:
    expected = book_of([records])
    contents: list[Content] = data.draw(spread(records))
    found = book_of(data.draw(st.permutations(contents)))
    assert (found.batch, found.control) == (expected.batch, expected.control)
    assert found.submissions == expected.submissions


@settings(max_examples=30)
@given(data=st.data(), records=batches())
def test_one_directory_or_several_are_the_same_journal(
    data: st.DataObject, records: list[Record]
) -> None:
    contents = data.draw(spread(records))
    with TemporaryDirectory() as place:
        for number, content in enumerate(contents):
            write_files(Path(place, str(number)), [content])
        found = read_here(*(Path(place, str(number)) for number in range(len(contents))))
    assert found == book_of(contents)


LOST = State.UNKNOWN
ANSWERS = [
    ([None], LOST),
    ([K.AMBIGUOUS], LOST),
    ([K.NOTHING_CHARGED], None),
    ([K.GATED], None),
    ([K.NOT_SENT], None),
    ([K.REJECTED], State.REJECTED),
    ([K.ACCEPTED], State.QUEUED),
    ([K.NOTHING_CHARGED, K.NOTHING_CHARGED], None),
    ([K.NOTHING_CHARGED, None], LOST),
    ([None, K.NOTHING_CHARGED], LOST),
    ([K.AMBIGUOUS, K.REJECTED], LOST),
    ([K.NOTHING_CHARGED, K.REJECTED], State.REJECTED),
    ([K.AMBIGUOUS, K.ACCEPTED], State.QUEUED),
]


@pytest.mark.parametrize(("kinds", "state"), ANSWERS)
def test_an_answer_that_cost_nothing_speaks_for_its_own_attempt_only(
    kinds: list[OutcomeKind | None], state: State | None
) -> None:
    purchase = Purchase("k")
    records: list[Record] = []
    for number, kind in enumerate(kinds, start=1):
        records.append(purchase.intent(number))
        if kind is not None:
            records.append(purchase.outcome(number, kind))
    decision = merged(told_of(*records))
    assert (decision.after.state if decision else None) is state


def test_the_first_intent_counts_and_the_dearest_hold() -> None:
    purchase = Purchase("k")
    first, second = purchase.intent(1, hold=5), purchase.intent(2, hold=3)
    told = told_of(second, first)
    assert told.first_sent_at == first.at
    assert (told.hold_nanos, told.tries) == (5, 2)
    assert book_of([[second, first]]).first_intent_at == first.at


@pytest.mark.parametrize("reverse", [False, True])
def test_a_purchase_belongs_to_the_account_that_it_was_sent_with_last(reverse: bool) -> None:
    """The first try cost nothing, and the batch was given another account before the second."""
    purchase = Purchase("k")
    tries = [replace(purchase.intent(n), key_fingerprint=f"key{3 - n}") for n in (1, 2)]
    assert told_of(*(tries[::-1] if reverse else tries)).account == "key1"


@pytest.mark.parametrize("reverse", [False, True])
def test_an_attempt_is_as_old_as_its_first_record(reverse: bool) -> None:
    first = Purchase("k").intent(1)
    records = [first, replace(first, at=first.at + 5)]
    assert told_of(*(records[::-1] if reverse else records)).attempts == {first.claim: first.at}


def test_an_intent_from_before_there_were_claims_is_settled_by_its_try() -> None:
    purchase = Purchase("k")
    intents = [replace(purchase.intent(number), claim="") for number in (1, 2)]
    answer = replace(purchase.outcome(2, K.NOTHING_CHARGED), claim="")
    assert told_of(*intents, answer).may_be_charged
    assert not told_of(intents[1], answer).may_be_charged


def test_a_word_that_nothing_was_charged_covers_what_was_sent_by_then() -> None:
    purchase = Purchase("k")
    first, verdict = purchase.intent(1), purchase.verdict(VerdictKind.NOT_CHARGED)
    assert not told_of(first, verdict).may_be_charged
    assert told_of(first, verdict, purchase.intent(2)).may_be_charged


@pytest.mark.parametrize(
    ("kind", "state"),
    [
        (VerdictKind.ADOPTED, State.QUEUED),
        (VerdictKind.CHARGED, State.FAILED),
        (VerdictKind.DOUBLE_CHARGE_ACCEPTED, State.FAILED),
        (VerdictKind.NOT_CHARGED, None),
    ],
)
def test_a_persons_verdict_is_remembered(kind: VerdictKind, state: State | None) -> None:
    purchase = Purchase("k")
    decision = merged(told_of(purchase.intent(1), purchase.verdict(kind)))
    assert (decision.after.state if decision else None) is state


def test_answers_of_a_purchase_without_an_intent_are_left_out() -> None:
    purchase = Purchase("k")
    answers = [purchase.outcome(1, K.ACCEPTED), purchase.terminal(TaskStatus.FAILED, actual=None)]
    assert book_of([answers]).submissions == {}


def test_a_cost_that_cannot_be_read_is_none() -> None:
    purchase = Purchase("k")
    bad = replace(purchase.terminal(TaskStatus.SUCCEEDED, actual=None), cost_actual="NaN")
    end = told_of(purchase.intent(1), bad).end
    assert end is not None
    assert end.actual is None


def test_damage_is_told_and_a_torn_tail_is_not(tmp_path: Path) -> None:
    purchase = Purchase("k")
    lines = [to_line(purchase.intent(number)) for number in (1, 2, 3)]
    (tmp_path / "a.journal").write_bytes(lines[0] + b"x" + lines[1] + lines[2][:-20])
    book = read_here(tmp_path)
    assert [damage.line for damage in book.damage] == [2]
    assert book.submissions["k"].tries == 1


@settings(max_examples=30)
@given(records=st.lists(INTENTS | BATCHES | CONTROLS, max_size=4), data=st.data())
def test_to_know_a_batch_is_to_find_a_purchase_in_it(
    records: list[Record], data: st.DataObject
) -> None:
    titles = [
        (one.namespace, one.name if isinstance(one, Batch) else one.batch, one.label)
        for one in records
        if hasattr(one, "batch") or isinstance(one, Batch)
    ]
    title = data.draw(st.tuples(TEXTS, TEXTS, TEXTS) | st.sampled_from([*titles, ("", "", "")]))
    given_title = dict(zip(("namespace", "name", "label"), title, strict=True))
    with TemporaryDirectory() as directory:
        write_files(Path(directory), [records[:2], records[2:]])
        known = knows([Path(directory)], **given_title)
        found = read_batch([Path(directory)], **given_title)
    assert known == bool(found.submissions)


@pytest.mark.parametrize(
    "other",
    [
        {"batch": "launch2"},
        {"batch": "aunch"},
        {"label": "default2"},
        {"namespace": "staging"},
        {"row_key": '"namespace":"","batch":"launch","label":"default"', "batch": "other"},
    ],
)
def test_a_batch_is_not_known_by_another_that_looks_like_it(
    tmp_path: Path, other: dict[str, str]
) -> None:
    write_files(tmp_path, [[replace(Purchase("k").intent(1), **other)]])  # type: ignore[arg-type]
    assert not knows([tmp_path], namespace=NAMESPACE, name=NAME, label=LABEL)
    assert read_here(tmp_path) == Book()


def test_a_later_directory_is_looked_through_too(tmp_path: Path) -> None:
    write_files(tmp_path / "full", [[], [Purchase("k").intent(1)]])
    places = [tmp_path / "absent", tmp_path / "full"]
    assert knows(places, namespace=NAMESPACE, name=NAME, label=LABEL)


def test_only_a_file_that_is_being_written_counts_as_busy(tmp_path: Path) -> None:
    write_files(tmp_path, [[Purchase("k").intent(1)]])
    assert written_now(paths(tmp_path)) == []
    writer = JournalWriter(tmp_path)
    writer.append([Purchase("k").intent(2)])
    assert written_now(paths(tmp_path)) == [writer.path]
    writer.close()
    assert written_now(paths(tmp_path)) == []


def test_an_intent_that_was_torn_while_it_was_written_is_not_known(tmp_path: Path) -> None:
    line = to_line(Purchase("k").intent(1))
    (tmp_path / "a.journal").write_bytes(line[:-20])
    assert read_here(tmp_path).submissions == {}
    assert not knows([tmp_path], namespace=NAMESPACE, name=NAME, label=LABEL)


@pytest.mark.parametrize(
    "reverse",
    [False, True],
)
def test_a_task_that_a_person_adopted_replaces_the_lost_one(reverse: bool) -> None:
    purchase = Purchase("k")
    accepted = purchase.outcome(1, K.ACCEPTED)
    adopted = replace(purchase.verdict(VerdictKind.ADOPTED), task_id="task found")
    files: list[list[Record]] = [[Purchase("k").intent(1), accepted], [adopted]]
    if reverse:
        files.reverse()
    assert book_of(files).submissions["k"].task_id == "task found"


@pytest.mark.parametrize(
    "reverse",
    [False, True],
)
def test_an_actual_cost_outweighs_one_that_was_assumed_by_a_late_worker(reverse: bool) -> None:
    purchase = Purchase("k")
    intent = purchase.intent(1)
    exact = purchase.terminal(TaskStatus.SUCCEEDED, actual="0.05")
    late = purchase.terminal(TaskStatus.SUCCEEDED, actual=None)
    files: list[list[Record]] = [[intent, exact], [late]]
    if reverse:
        files.reverse()
    end = book_of(files).submissions["k"].end
    assert end is not None
    assert end.actual is not None
