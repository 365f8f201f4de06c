"""Where things live on this machine: data, journals, sockets."""

from __future__ import annotations

import os
import stat
import tempfile
import uuid
from pathlib import Path

import platformdirs

from orchestrator.errors import ConfigError

DATA_DIR_NAME = ".orchestrator"
_ID_FILE = "installation"
_HOME_FILE = "data-directory"
_LONGEST_SOCKET = 100
"""Unix socket paths end at about 107 bytes."""


def find_data_dir(setting: Path | None, start: Path) -> Path:
    """The setting; else the nearest `.orchestrator/` from `start` upwards; else one in `start`."""
    if setting is not None:
        return setting.expanduser().absolute()
    for folder in (start, *start.parents):
        if (folder / DATA_DIR_NAME).is_dir():
            return folder / DATA_DIR_NAME
    return start / DATA_DIR_NAME


def create_data_dir(path: Path) -> bool:
    """Make the data directory with its id; True where it is new. Raises ConfigError."""
    new = not (path / _ID_FILE).exists()
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write_id(path)
        _check_writable(path)
    except OSError as error:
        raise ConfigError(
            f"the data directory {path} cannot be written: {error.strerror or error}",
            mend="Give yourself write permission there, or set ORCHESTRATOR_DATA_DIR to another "
            "folder.",
        ) from None
    return new


def _write_id(path: Path) -> None:
    """Create the id once."""
    target = path / _ID_FILE
    if not target.exists():
        write_once(target, _former_id(path) or uuid.uuid4().hex[:12])


def write_once(target: Path, text: str) -> None:
    """A file with this line, unless there is one: linking is atomic, so two starters agree."""
    draft = target.parent / f".{uuid.uuid4().hex}"
    draft.write_text(text + "\n", encoding="ascii")
    try:
        os.link(draft, target)
    except FileExistsError:
        pass
    finally:
        draft.unlink()


def _former_id(path: Path) -> str | None:
    """The id of a data directory that was at this path before: its journal remembers where.

    So a directory that was removed whole still finds what was bought from it.
    """
    homes = _journals().glob(f"*/{_HOME_FILE}")
    found = [home for home in homes if home.read_bytes() == os.fsencode(path) + b"\n"]
    newest = max(found, key=lambda home: home.stat().st_mtime, default=None)
    return None if newest is None else newest.parent.name


def note_home(journal_dir: Path, data_dir: Path) -> None:
    """Have a default journal directory remember whose it is. Raises OSError."""
    home = journal_dir / _HOME_FILE
    if journal_dir.parent != _journals():
        return
    told = os.fsencode(data_dir) + b"\n"
    # Written anew after a move, so that a new directory at the old place does not take the id.
    if not home.exists() or home.read_bytes() != told:
        journal_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        home.write_bytes(told)


def _journals() -> Path:
    return platformdirs.user_state_path("orchestrator") / "journal"


def _check_writable(path: Path) -> None:
    with tempfile.TemporaryFile(dir=path):
        pass


def installation_id(data_dir: Path) -> str:
    """The data directory's id. Raises ConfigError where the directory is not one of ours."""
    try:
        return (data_dir / _ID_FILE).read_text(encoding="ascii").strip()
    except (FileNotFoundError, NotADirectoryError):
        raise ConfigError(
            f"there is no data directory at {data_dir}: nothing was submitted from here",
            mend="Submit a spec, go where you submitted one from, or set ORCHESTRATOR_DATA_DIR.",
            code="no_data_dir",
        ) from None
    except OSError as error:
        raise ConfigError(
            f"the data directory {data_dir} cannot be read: {error.strerror}",
            mend="Give yourself permission there, or set ORCHESTRATOR_DATA_DIR to another folder.",
        ) from None


def default_journal_dir(installation: str) -> Path:
    """Apart from the data directory, so that one `rm -r` cannot take both."""
    return _journals() / installation


def runtime_dir(installation: str) -> Path:
    """A short private folder for sockets and locks, made where it is missing."""
    base = os.environ.get("XDG_RUNTIME_DIR", "")
    path = Path(base) / "orchestrator" / installation
    if not base or len(str(path)) > _LONGEST_SOCKET - 20 or not os.access(base, os.W_OK):
        path = Path("/tmp") / f"orchestrator-{os.getuid()}" / installation  # noqa: S108 checked below
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    for folder in (path.parent, path):
        found = folder.lstat()
        if found.st_uid != os.getuid() or not stat.S_ISDIR(found.st_mode):
            raise ConfigError(
                f"the runtime directory {folder} belongs to somebody else",
                mend="Remove it, or set XDG_RUNTIME_DIR to a folder of your own.",
            )
        folder.chmod(0o700)
    return path
