"""Reading: whatever happens to a file, what is read is right, and what is lost is told."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import ServiceError
from orchestrator.journal import Damage, Record, Unknown, read
from orchestrator.journal.record import MAX_LINE, to_line
from tests.support.journal_records import RECORDS

LISTS = st.lists(RECORDS, min_size=1, max_size=5)


def _record(number: int) -> Unknown:
    return Unknown(kind="later", extra=f'{{"n":{number}}}')


def _read_bytes(content: bytes) -> tuple[list[Record], list[Damage]]:
    with TemporaryDirectory() as directory:
        Path(directory, "a.journal").write_bytes(content)
        everything = list(read(Path(directory)))
    damages = [entry for entry in everything if isinstance(entry, Damage)]
    return [entry for entry in everything if not isinstance(entry, Damage)], damages


@given(records=LISTS)
def test_what_was_written_is_read_in_order(records: list[Record]) -> None:
    assert _read_bytes(b"".join(map(to_line, records))) == (records, [])


@given(records=LISTS, data=st.data())
def test_any_truncation_leaves_a_prefix_and_at_most_a_torn_tail(
    records: list[Record], data: st.DataObject
) -> None:
    content = b"".join(map(to_line, records))
    length = data.draw(st.integers(0, len(content)))
    survivors, damages = _read_bytes(content[:length])
    assert survivors == records[: len(survivors)]
    assert len(survivors) >= content[:length].count(b"\n")
    assert [damage.torn for damage in damages] in ([], [True])


@given(records=LISTS, data=st.data())
def test_any_changed_byte_costs_its_own_record_and_never_makes_another(
    records: list[Record], data: st.DataObject
) -> None:
    lines = [to_line(record) for record in records]
    content = bytearray(b"".join(lines))
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    survivors, damages = _read_bytes(bytes(content))
    remaining = iter(records)
    assert all(survivor in remaining for survivor in survivors), "in order, nothing invented"
    # A lost line end joins two lines; that of the last line costs nothing.
    assert len(survivors) >= len(records) - 2
    if survivors != records:
        assert damages


def test_damage_names_file_and_line_and_the_rest_is_read(tmp_path: Path) -> None:
    first, second, third = (to_line(_record(number)) for number in range(3))
    (tmp_path / "a.journal").write_bytes(first + b"rubbish\n" + second + third)
    assert list(read(tmp_path)) == [
        _record(0),
        Damage(tmp_path / "a.journal", 2, "no checksum", torn=False),
        _record(1),
        _record(2),
    ]
    (damage,) = [entry for entry in read(tmp_path) if isinstance(entry, Damage)]
    assert str(damage) == f"{tmp_path}/a.journal:2: no checksum"


def test_a_bad_last_line_is_torn_in_each_file(tmp_path: Path) -> None:
    line = to_line(_record(1))
    (tmp_path / "a.journal").write_bytes(line + line[:-5])
    (tmp_path / "b.journal").write_bytes(line + b"00000000 {}\n")
    (tmp_path / "notes.txt").write_bytes(b"not ours\n")
    damages = [entry for entry in read(tmp_path) if isinstance(entry, Damage)]
    assert [(damage.file.name, damage.line, damage.torn) for damage in damages] == [
        ("a.journal", 2, True),
        ("b.journal", 2, True),
    ]


def test_a_hole_of_zeros_longer_than_any_line_costs_one_line(tmp_path: Path) -> None:
    line = to_line(_record(1))
    with (tmp_path / "a.journal").open("wb") as file:
        file.write(line)
        file.truncate(len(line) + 2 * MAX_LINE + 100)
        file.seek(0, 2)
        file.write(b"\n" + line)
    kinds = [type(entry) for entry in read(tmp_path)]
    assert kinds == [Unknown, Damage, Unknown]


def test_reading_is_a_stream(tmp_path: Path) -> None:
    """The first record is there before the second file, which cannot be read, is touched."""
    (tmp_path / "a.journal").write_bytes(to_line(_record(1)))
    (tmp_path / "b.journal").mkdir()
    entries = read(tmp_path)
    assert next(entries) == _record(1)
    with pytest.raises(ServiceError, match="cannot be read") as caught:
        next(entries)
    assert caught.value.code == "journal"


def test_no_directory_holds_no_records_and_a_file_is_no_directory(tmp_path: Path) -> None:
    assert list(read(tmp_path / "none")) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(ServiceError):
        list(read(tmp_path / "file"))


def test_files_are_read_in_the_order_of_their_names(tmp_path: Path) -> None:
    for number in (2, 0, 1):
        (tmp_path / f"{number}.journal").write_bytes(to_line(_record(number)))
    numbers = [entry.extra for entry in read(tmp_path) if isinstance(entry, Unknown)]
    assert all(before < after for before, after in pairwise(numbers))
