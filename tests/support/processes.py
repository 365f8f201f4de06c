"""Finding the processes of one installation, by the folder in their environment."""

from __future__ import annotations

import subprocess
from pathlib import Path

SUPERVISOR = "orchestrator.supervisor"
CELERY = "multiprocessing.forkserver"
"""In the command of what workers and beat are forks of, and so in theirs."""
BUYER, POLLER, BEAT = "worker-submit", "worker-poll", "beat"
"""The names that workers and beat give themselves; those of their pools are named likewise."""
_NAMES = (BUYER, POLLER, BEAT)


def processes_of(folder: Path, word: str) -> list[int]:
    """Ids of the processes that name themselves `word` or, for other words, whose command has it.

    Their environment names `folder`.
    """
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            command = (entry / "cmdline").read_bytes()
            environment = (entry / "environ").read_bytes()
            name = (entry / "comm").read_text().strip()
        except OSError:
            continue
        # Folders are in commands too, and a test may be called after a beat.
        meant = word == name if word in _NAMES else word.encode() in command
        if meant and bytes(folder) in environment:
            found.append(int(entry.name))
    return sorted(found)


def children_of(pid: int) -> list[int]:
    """The processes that `pid` started, by id."""
    found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False)
    return [int(line) for line in found.stdout.split()]


def supervisor_of(folder: Path) -> int:
    (found,) = processes_of(folder, SUPERVISOR)
    return found


def main_process(folder: Path, name: str) -> int:
    """The one of this name that is a fork of what forks, not of another of its pool."""
    forker = forker_of(folder)
    (found,) = (pid for pid in processes_of(folder, name) if pid in children_of(forker))
    return found


def forker_of(folder: Path) -> int:
    """The process that workers and beat are forks of."""
    celery = set(processes_of(folder, CELERY))
    (found,) = celery & set(children_of(supervisor_of(folder)))
    return found


def broker_of(folder: Path) -> int:
    """The supervisor's child that is a server; it hides its environment."""
    children = children_of(supervisor_of(folder))
    (found,) = (pid for pid in children if "server" in Path(f"/proc/{pid}/comm").read_text())
    return found
