"""Writing: on the disk when append returns, in a file of one's own, or an error for good."""

from __future__ import annotations

import fcntl
import resource
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from orchestrator.errors import ServiceError
from orchestrator.journal import Damage, JournalWriter, Unknown, read
from orchestrator.journal.record import MAX_LINE


def _record(number: int) -> Unknown:
    return Unknown(kind="later", extra=f'{{"n":{number}}}')


@contextmanager
def _files_at_most(size: int) -> Iterator[None]:
    """The kernel refuses to let any file grow beyond `size` bytes, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_records_are_read_back(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path)
    writer.append([_record(1), _record(2)])
    writer.append([_record(3)])
    assert list(read(tmp_path)) == [_record(1), _record(2), _record(3)]


def test_nothing_is_created_before_the_first_record(tmp_path: Path) -> None:
    directory = tmp_path / "deep" / "journal"
    writer = JournalWriter(directory)
    writer.append([])
    assert not directory.exists()
    assert writer.path is None


def test_only_the_owner_may_look(tmp_path: Path) -> None:
    directory = tmp_path / "journal"
    writer = JournalWriter(directory)
    writer.append([_record(1)])
    assert writer.path is not None
    assert directory.stat().st_mode & 0o777 == 0o700
    assert writer.path.stat().st_mode & 0o777 == 0o600


def test_a_file_is_locked_while_it_is_written_and_free_after(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path)
    writer.append([_record(1)])
    assert writer.path is not None
    with writer.path.open("rb") as file:
        with pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        writer.close()
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)


def test_two_writers_and_one_after_closing_have_files_of_their_own(tmp_path: Path) -> None:
    one, other = JournalWriter(tmp_path), JournalWriter(tmp_path)
    one.append([_record(1)])
    other.append([_record(2)])
    one.close()
    one.append([_record(3)])
    assert len(list(tmp_path.glob("*.journal"))) == 3


def test_a_full_file_is_followed_by_another_and_no_append_is_split(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path, rotate_bytes=100)
    for _ in range(4):
        writer.append([_record(1), _record(2)])
    files = list(tmp_path.glob("*.journal"))
    assert [file.read_bytes().count(b"\n") for file in files] == [2, 2, 2, 2]


def test_a_failed_write_poisons_the_writer_and_leaves_a_torn_tail(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path)
    writer.append([_record(1)])
    with (
        _files_at_most(50),
        pytest.raises(ServiceError, match="nothing more is sent") as caught,
    ):
        writer.append([_record(2)])
    assert caught.value.code == "journal"
    with pytest.raises(ServiceError):
        writer.append([_record(3)])
    with pytest.raises(ServiceError):
        writer.append([])
    first, *rest = read(tmp_path)
    assert first == _record(1)
    assert [entry.torn for entry in rest if isinstance(entry, Damage)] == [True]


def test_a_directory_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ServiceError, match="cannot be written"):
        JournalWriter(tmp_path / "file" / "journal").append([_record(1)])


def test_a_file_removed_under_the_writer_is_an_error(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path)
    writer.append([_record(1)])
    assert writer.path is not None
    writer.path.unlink()
    with pytest.raises(ServiceError, match="was removed"):
        writer.append([_record(2)])


def test_a_record_too_long_is_refused_alone(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path)
    with pytest.raises(ServiceError, match="too long"):
        writer.append([Unknown(kind="later", extra='{"x":"%s"}' % ("y" * MAX_LINE))])
    writer.append([_record(1)])
    assert list(read(tmp_path)) == [_record(1)]


def test_threads_do_not_tear_each_others_lines(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path, rotate_bytes=2000)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: writer.append([_record(number)]), range(100)))
    found = {entry.extra for entry in read(tmp_path) if isinstance(entry, Unknown)}
    assert found == {_record(number).extra for number in range(100)}


FORK = """
import os, sys
from pathlib import Path
from orchestrator.journal import JournalWriter, Unknown
writer = JournalWriter(Path(sys.argv[1]))
writer.append([Unknown(kind="later", extra='{"from":"parent"}')])
child = os.fork()
if child == 0:
    writer.append([Unknown(kind="later", extra='{"from":"child"}')])
    os._exit(0)
_, status = os.waitpid(child, 0)
writer.append([Unknown(kind="later", extra='{"from":"parent"}')])
sys.exit(os.waitstatus_to_exitcode(status))
"""


def test_a_child_writes_to_a_file_of_its_own(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", FORK, str(tmp_path)], check=True)
    lines = sorted(file.read_bytes().count(b"\n") for file in tmp_path.glob("*.journal"))
    assert lines == [1, 2]
    one_voice = [
        {line.split(b'"from"')[1] for line in file.read_bytes().splitlines()}
        for file in tmp_path.glob("*.journal")
    ]
    assert all(len(voices) == 1 for voices in one_voice)


KILLED = """
import os, signal, sys
from pathlib import Path
from orchestrator.journal import JournalWriter, Unknown
writer = JournalWriter(Path(sys.argv[1]))
for number in range(50):
    writer.append([Unknown(kind="later", extra='{"n":%d}' % number)])
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_append_returned_for_survives_a_kill(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert done.returncode == -9
    assert list(read(tmp_path)) == [_record(number) for number in range(50)]


SYNCS = {"fcntl", "fdatasync", "fsync"}


def test_every_append_is_one_write_and_one_sync(tmp_path: Path) -> None:
    """However many records: the system calls of one append, as the interpreter reports them."""
    calls: list[str] = []

    def watch(_frame: object, event: str, function: object) -> None:
        name = getattr(function, "__name__", "")
        if event == "c_call" and name in SYNCS | {"write"}:
            calls.append(name)

    writer = JournalWriter(tmp_path)
    writer.append([_record(0)])
    sys.setprofile(watch)
    try:
        writer.append([_record(number) for number in range(1, 20)])
    finally:
        sys.setprofile(None)
    write, sync = calls
    assert write == "write"
    assert sync in SYNCS
