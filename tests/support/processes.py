"""Finding the processes of one installation, by the folder in their environment."""

from __future__ import annotations

from pathlib import Path


def processes_of(folder: Path, word: str) -> list[int]:
    """Ids of the processes whose command has `word` and whose environment names `folder`."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            command = (entry / "cmdline").read_bytes()
            environment = (entry / "environ").read_bytes()
        except OSError:
            continue
        if word.encode() in command and bytes(folder) in environment:
            found.append(int(entry.name))
    return sorted(found)
