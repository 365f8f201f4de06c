"""Where videos go: a folder, or an object store behind fsspec. Both appear there whole or not."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from orchestrator.errors import ConfigError, UsageError
from orchestrator.provider.video import discard

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem


class Target(Protocol):
    """`paths` are relative, with `/` between their parts."""

    name: str
    """Names the target in the database and, with a path behind it, one of its files."""

    def part(self, path: str) -> Path:
        """The local file that a video is fetched into."""

    def size(self, path: str) -> int | None:
        """Of the file that is there, in bytes; None where none is."""

    def finish(self, path: str) -> None:
        """Make the complete part the file. Doing it twice is harmless."""


class Folder:
    """A local folder; parts lie hidden beside their files. Raises UsageError if not writable."""

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()
        self.name = str(self._root)
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            probe = self._root / f".writable-{os.getpid()}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise UsageError(
                f"videos cannot be saved in {root}: {error.strerror}",
                mend="Choose another folder with -o, or give yourself permission there.",
                code="download_folder",
            ) from None

    def part(self, path: str) -> Path:
        whole = self._root / path
        return whole.with_name(f".{whole.name}.part")

    def size(self, path: str) -> int | None:
        try:
            return (self._root / path).stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return None

    def finish(self, path: str) -> None:
        part = self.part(path)
        if not part.exists():
            return
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(self._root / path)
        discard(part)
        folder = os.open(part.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


class ObjectStore:
    """Any fsspec file system, such as s3://bucket/prefix; parts are kept in a local spool."""

    def __init__(self, url: str, spool: Path) -> None:
        try:
            import fsspec
        except ModuleNotFoundError:
            raise ConfigError(
                f"saving to {url} needs fsspec, which is not installed",
                mend="Install the extra: pip install 'video-batch-orchestrator[object-store]'.",
            ) from None
        self.name = url.rstrip("/")
        self._spool = spool
        try:
            self._fs: AbstractFileSystem
            self._fs, self._root = fsspec.url_to_fs(self.name)
        except (ImportError, ValueError) as error:
            raise UsageError(
                f"{url} is no place to save to: {error}",
                mend="Write a folder, or a URL such as s3://bucket/prefix; its driver (s3fs, "
                "gcsfs, …) must be installed.",
                code="download_folder",
            ) from None

    def part(self, path: str) -> Path:
        return self._spool / f"{path}.part"

    def size(self, path: str) -> int | None:
        try:
            return int(self._fs.size(f"{self._root}/{path}"))
        except FileNotFoundError:
            return None

    def finish(self, path: str) -> None:
        part = self.part(path)
        if not part.exists():
            return
        self._fs.makedirs(f"{self._root}/{path}".rpartition("/")[0], exist_ok=True)
        self._fs.put_file(str(part), f"{self._root}/{path}")
        discard(part)


def open_target(text: str, work: Path) -> Target:
    """A folder, or with `://` an object store. Raises UsageError, ConfigError.

    `work`: where parts wait that cannot lie beside their files.
    """
    if "://" not in text:
        return Folder(Path(text))
    return ObjectStore(text, work / hashlib.sha256(text.encode()).hexdigest()[:16])


@contextmanager
def alone(target: Target, work: Path) -> Iterator[None]:
    """One process at a time saves to a target. Raises UsageError while another one does."""
    work.mkdir(parents=True, exist_ok=True)
    lock = work / f"{hashlib.sha256(target.name.encode()).hexdigest()[:16]}.lock"
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UsageError(
                f"another command is saving videos to {target.name}",
                mend="Wait for it, or choose another folder.",
                code="busy",
            ) from None
        yield
