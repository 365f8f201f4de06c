"""What a process says of itself and the machine it runs on."""

from __future__ import annotations

import os
import re
import shutil
import socket
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from orchestrator import __version__, places
from orchestrator.domain import mounts
from orchestrator.domain.fleet import About
from orchestrator.settings import Settings

_MOUNTS = Path("/proc/self/mountinfo")
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_ID_FILE = "directory-id"
_SECRET = re.compile(
    r"MINDVIDEO_API_KEY(_[A-Z0-9_]+)?|ORCHESTRATOR_WEBHOOK_SECRET|FLOWER_BASIC_AUTH"
    r"|ORCHESTRATOR_(DATABASE|BROKER)_URL"
)


def about(settings: Settings, queues: Sequence[str] = ()) -> About:
    """This process's own facts; the journal's directory is made where it is missing."""
    folder = settings.journal_dir
    identity, free = _directory(folder)
    mount = mounts.holding(PurePosixPath(os.path.realpath(folder)), mounts.parse(_read(_MOUNTS)))
    return About(
        host=socket.gethostname(),
        machine=_read(_BOOT).strip() or socket.gethostname(),
        version=__version__,
        queues=tuple(queues),
        connections=settings.database_connections,
        provider=settings.base_url,
        accounts=tuple(f"{account.name}:{account.id}" for account in settings.accounts),
        journal=str(folder),
        journal_id=identity,
        journal_kind="" if mount is None else mount.kind,
        journal_lasting=mounts.lasting(mount),
        journal_free=free,
        plain_secrets=tuple(plain_secrets(os.environ)),
    )


def plain_secrets(environment: Mapping[str, str]) -> list[str]:
    """Variables that hold a secret themselves. An address counts where it has a password."""
    found = []
    for name, value in environment.items():
        if not value or not _SECRET.fullmatch(name) or name.endswith("_FILE"):
            continue
        if environment.get(f"{name}_FILE") or (name.endswith("_URL") and not _has_password(value)):
            continue
        found.append(name)
    return sorted(found)


def _has_password(url: str) -> bool:
    return bool(urlsplit(url).password)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""


def _directory(folder: Path) -> tuple[str, int | None]:
    """Its own id, the same from wherever it is mounted, and the bytes that are free there."""
    target = folder / _ID_FILE
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not target.exists():
            places.write_once(target, uuid.uuid4().hex)
        return target.read_text(encoding="ascii").strip(), shutil.disk_usage(folder).free
    except OSError:
        return "", None
