"""Appends records so that they are on the disk before anything is paid for."""

from __future__ import annotations

import fcntl
import os
import threading
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import ServiceError
from orchestrator.journal.fields import RecordError
from orchestrator.journal.record import Record, to_line

SUFFIX = ".journal"
ROTATE_BYTES = 64 * 1024 * 1024


@dataclass(slots=True)
class _File:
    descriptor: int
    path: Path
    size: int = 0


class JournalWriter:
    """One process's own file in `directory`; opened by the first append.

    Safe for threads, and for a fork: a child writes to a file of its own. Nobody else ever appends
    to a file, so a torn line is always its last.
    """

    def __init__(
        self,
        directory: Path,
        *,
        rotate_bytes: int = ROTATE_BYTES,
        created: Callable[[str], None] = lambda _name: None,
    ) -> None:
        """`created` is told the name of each new file before anything is written to it."""
        self._directory = directory
        self._rotate_bytes = rotate_bytes
        self._created = created
        self._start_in(os.getpid())

    def _start_in(self, pid: int) -> None:
        self._pid = pid
        self._lock = threading.Lock()
        self._file: _File | None = None
        self._names: list[str] = []
        self._poison: ServiceError | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The files that this process has opened so far, the one that is written to last."""
        return tuple(self._names)

    @property
    def path(self) -> Path | None:
        """The file that is written to; None before the first append."""
        return self._file.path if self._file else None

    def append(self, records: Sequence[Record]) -> None:
        """Write all records with one write and one sync; when this returns, they will survive.

        Raises ServiceError `journal` when they may not, and from then on for every append: a file
        that failed once cannot be trusted, so nothing more may be sent by this process.
        """
        self._leave_parent()
        with self._lock:
            if self._poison is not None:
                raise self._poison
            if not records:
                return
            try:
                data = b"".join(to_line(record) for record in records)
            except RecordError as error:
                # Nothing of it was written: the file is as good as before.
                raise _failure(self._directory, error) from error
            try:
                self._write(data)
            except OSError as error:
                self._poison = _failure(self._directory, error)
                raise self._poison from error

    def close(self) -> None:
        """Close the file; a later append starts another."""
        self._leave_parent()
        with self._lock:
            self._close_file()

    def _leave_parent(self) -> None:
        """After a fork: the file belongs to the parent, and so may a lock held at that moment."""
        if self._pid == os.getpid():
            return
        inherited = self._file
        self._start_in(os.getpid())
        if inherited is not None:
            os.close(inherited.descriptor)

    def _write(self, data: bytes) -> None:
        file = self._file
        if file is not None and file.size + len(data) > self._rotate_bytes:
            self._close_file()
            file = None
        if file is None:
            file = _create(self._directory)
            try:
                self._created(file.path.name)
            except BaseException:
                os.close(file.descriptor)
                raise
            self._file = file
            self._names.append(file.path.name)
        if os.fstat(file.descriptor).st_nlink == 0:
            raise FileNotFoundError(f"{file.path} was removed while it was written to")
        _write_all(file.descriptor, data)
        _sync(file.descriptor)
        file.size += len(data)

    def _close_file(self) -> None:
        if self._file is not None:
            os.close(self._file.descriptor)
            self._file = None


def _create(directory: Path) -> _File:
    """A new file of our own, locked, and its name on the disk."""
    if not directory.is_dir():
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _sync_directory(directory.parent)
    path = directory / f"{uuid.uuid4()}{SUFFIX}"
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    try:
        # Tells whoever tidies up that a process still writes here.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _sync_directory(directory)
    except OSError:
        os.close(descriptor)
        raise
    return _File(descriptor, path)


def _write_all(descriptor: int, data: bytes) -> None:
    """One write; the rest follows only where a signal or a full disk cut it short."""
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]


def _sync(descriptor: int) -> None:
    if hasattr(fcntl, "F_FULLFSYNC"):
        # On macOS plain fsync leaves the data in the drive's own cache.
        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
    elif hasattr(os, "fdatasync"):
        os.fdatasync(descriptor)
    else:
        os.fsync(descriptor)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _failure(directory: Path, error: Exception) -> ServiceError:
    return ServiceError(
        f"the journal in {directory} cannot be written, so nothing more is sent: {error}",
        mend="Free space or mend the disk, or set ORCHESTRATOR_JOURNAL_DIR; then start again.",
        code="journal",
    )
