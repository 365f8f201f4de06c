"""One line of the journal: what it looks like and what is refused."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given

from orchestrator.journal import Batch, Outcome, OutcomeKind, Record, RecordError, Unknown
from orchestrator.journal.record import MAX_LINE, from_line, to_line
from tests.support.journal_records import RECORDS

OUTCOME = Outcome(
    idempotency_key="k1",
    generation=0,
    kind=OutcomeKind.ACCEPTED,
    at=1_700_000_000_000,
    try_=1,
    state="queued",
    task_id="task_1",
    request_id="req_1",
    cost_estimate="0.0414",
)


def _line(payload: bytes) -> bytes:
    return b"%08x %b\n" % (zlib.crc32(payload), payload)


def test_the_published_example() -> None:
    """The line of docs/journal.md."""
    assert to_line(OUTCOME) == (
        b'9738d832 {"v":1,"kind":"outcome","idempotency_key":"k1","generation":0,"try":1,'
        b'"outcome":"accepted","state":"queued","task_id":"task_1","request_id":"req_1",'
        b'"cost_estimate":"0.0414","at":1700000000000}\n'
    )


def test_what_says_nothing_may_be_null_or_left_out() -> None:
    head = b'{"v":1,"kind":"outcome","idempotency_key":"k1","generation":0,"outcome":"gated","at":1'
    short = from_line(_line(head + b"}"))
    assert from_line(_line(head + b',"try":null,"state":null,"cost_estimate":null}')) == short
    assert short == Outcome(idempotency_key="k1", generation=0, kind=OutcomeKind.GATED, at=1)


@given(record=RECORDS)
def test_every_record_comes_back_from_its_one_ascii_line(record: Record) -> None:
    line = to_line(record)
    assert from_line(line) == record
    assert line.isascii()
    assert line.find(b"\n") == len(line) - 1


def test_fields_of_a_newer_version_are_skipped_and_written_again() -> None:
    payload = (
        b'{"v":1,"kind":"batch","namespace":"","name":"launch","label":"default","key_version":1,'
        b'"budget_nanos":null,"at":5,"colour":{"r":[1,2.5]}}'
    )
    record = from_line(_line(payload))
    assert isinstance(record, Batch)
    assert record.extra == '{"colour":{"r":[1,2.5]}}'
    assert to_line(record) == _line(payload)


def test_an_unknown_kind_is_kept_whole() -> None:
    line = _line(b'{"v":1,"kind":"later","by":"ann","at":7}')
    record = from_line(line)
    assert record == Unknown(kind="later", extra='{"by":"ann","at":7}')
    assert to_line(record) == line


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b'{"v":2,"kind":"batch"}', "format version 2"),
        (b'{"kind":"batch"}', "v is missing"),
        (b'{"v":1}', "kind is missing"),
        (b'{"v":true,"kind":"batch"}', "v is no whole number"),
        (b'{"v":1,"kind":"batch"}', "namespace is missing"),
        (b'{"v":1,"kind":"terminal","idempotency_key":5}', "idempotency_key is no text"),
        (
            (
                b'{"v":1,"kind":"terminal","idempotency_key":"k","task_id":"t","state":"failed",'
                b'"videos":"x","at":1}'
            ),
            "videos is no list",
        ),
        (
            b'{"v":1,"kind":"outcome","idempotency_key":"k","generation":0,"outcome":"lucky"}',
            "'lucky' is not one",
        ),
        (b'{"v":1,"kind":"later","x":1e999}', "Out of range"),
        (b"[1]", "no JSON object"),
        (b"{", "no JSON"),
        (b"\xff", "no JSON"),
    ],
)
def test_a_sound_line_that_is_no_record_is_refused(payload: bytes, reason: str) -> None:
    with pytest.raises(RecordError, match=reason):
        from_line(_line(payload))


@pytest.mark.parametrize("line", [b"", b"\n", b"zz", b"1234 {}\n", b"00000000 {}\n"])
def test_a_line_without_its_checksum_is_refused(line: bytes) -> None:
    with pytest.raises(RecordError, match="checksum"):
        from_line(line)


def test_the_checksum_is_compared_as_it_is_written() -> None:
    line = to_line(OUTCOME)
    with pytest.raises(RecordError, match="checksum"):
        from_line(line[:8].upper() + line[8:])


def test_a_line_that_no_reader_would_take_is_not_made() -> None:
    with pytest.raises(RecordError, match="too long"):
        to_line(Unknown(kind="later", extra='{"x":"%s"}' % ("y" * MAX_LINE)))
