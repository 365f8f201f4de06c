"""On what a directory lies, as Linux tells in /proc/self/mountinfo."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath


class Lasting(StrEnum):
    """Whether what is written there outlives the container, the pod or the machine's restart."""

    DISK = "disk"
    NETWORK = "network"
    EPHEMERAL = "ephemeral"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Mount:
    """`root` is what of the file system is mounted; `kind` its type, such as ext4."""

    point: str
    root: str
    kind: str


_EPHEMERAL = frozenset({"tmpfs", "ramfs", "overlay", "aufs", "rootfs", "fuse-overlayfs", "zram"})
_NETWORK = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "glusterfs", "lustre", "afs", "virtiofs"}
)
_DISK = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "bcachefs", "jfs"})
_EMPTY_DIR = "kubernetes.io~empty-dir"
"""A part of the path at which Kubernetes keeps a pod's own scratch volumes."""


def parse(text: str) -> list[Mount]:
    """Every mount, in the kernel's order; lines that are none are passed over."""
    found = []
    for line in text.splitlines():
        before, separator, after = line.partition(" - ")
        fields, kinds = before.split(), after.split()
        if separator and len(fields) >= 6 and kinds:
            found.append(Mount(_plain(fields[4]), _plain(fields[3]), kinds[0]))
    return found


def _plain(path: str) -> str:
    """Spaces and the like are written as octal numbers."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), path)


def holding(path: PurePosixPath, mounts: Iterable[Mount]) -> Mount | None:
    """The mount that a path (absolute, without links) lies on; the last of several at a place."""
    above = {str(path), *(str(parent) for parent in path.parents)}
    best: Mount | None = None
    for mount in mounts:
        if mount.point in above and (best is None or len(mount.point) >= len(best.point)):
            best = mount
    return best


def lasting(mount: Mount | None) -> Lasting:
    if mount is None:
        return Lasting.UNKNOWN
    if mount.kind in _EPHEMERAL or _EMPTY_DIR in mount.root:
        return Lasting.EPHEMERAL
    if mount.kind in _NETWORK or mount.kind.startswith("fuse"):
        return Lasting.NETWORK
    return Lasting.DISK if mount.kind in _DISK else Lasting.UNKNOWN
