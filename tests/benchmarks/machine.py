"""The machine that measures, and the processor time of process trees on it."""

from __future__ import annotations

import os
import platform
import sqlite3
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_PACKAGES = ("aiohttp", "celery", "httpx", "httpx-aiohttp", "sqlalchemy")


def figures() -> dict[str, object]:
    """What a reader needs to compare this machine with another."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        **{name: version(name) for name in _PACKAGES},
        "load": round(os.getloadavg()[0], 1),
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def tree(roots: Iterable[int]) -> dict[int, int]:
    """Process id -> its parent's, of these processes and all below them."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            parents[int(entry.name)] = int(fields[1])
    found = {pid: parents[pid] for pid in roots if pid in parents}
    while more := {pid: up for pid, up in parents.items() if up in found and pid not in found}:
        found |= more
    return found


def cpu_seconds(roots: Iterable[int]) -> float:
    """What these processes and all below them have used, also those that were waited for."""
    ticks = 0
    for pid in tree(roots):
        if fields := _stat(pid):
            ticks += sum(int(value) for value in fields[11:15])
    return ticks / _TICK


def memory_mb(pid: int) -> float:
    """The memory that a process has in use now."""
    fields = _stat(pid)
    return int(fields[21]) * _PAGE / 1e6 if fields else 0.0


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on; none for a process that is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
