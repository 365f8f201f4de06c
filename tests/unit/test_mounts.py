"""On what a directory lies."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from orchestrator.domain.mounts import Lasting, holding, lasting, parse

CONTAINER = r"""
1022 934 0:131 / / rw,relatime master:297 - overlay overlay rw,lowerdir=/a:/b,upperdir=/c
1023 1022 0:134 / /proc rw,nosuid - proc proc rw
1026 1022 0:135 / /dev rw,nosuid - tmpfs tmpfs rw,size=65536k
1031 1022 8:1 /var/lib/docker/volumes/j/_data /var/lib/journal rw shared:1 - ext4 /dev/sda1 rw
1032 1022 8:1 /pods/1/volumes/kubernetes.io~empty-dir/s /scratch rw - ext4 /dev/sda1 rw
1033 1022 0:50 / /net/with\040space rw - nfs4 nas:/export rw
1034 1022 0:51 / /shm rw - tmpfs tmpfs rw
1035 1034 8:2 / /shm rw - xfs /dev/sdb1 rw
1036 1022 0:52 / /keep rw - fuse.s3fs s3fs rw
1037 1022 0:53 / /odd rw - newfs /dev/x rw
not a mount at all
"""


@pytest.mark.parametrize(
    ("path", "kind", "expected"),
    [
        ("/home/me/journal", "overlay", Lasting.EPHEMERAL),
        ("/var/lib/journal", "ext4", Lasting.DISK),
        ("/var/lib/journal/deep/er", "ext4", Lasting.DISK),
        ("/var/lib/journals", "overlay", Lasting.EPHEMERAL),
        ("/dev/shm", "tmpfs", Lasting.EPHEMERAL),
        ("/scratch/journal", "ext4", Lasting.EPHEMERAL),
        ("/net/with space/j", "nfs4", Lasting.NETWORK),
        ("/keep/j", "fuse.s3fs", Lasting.NETWORK),
        ("/shm/j", "xfs", Lasting.DISK),
        ("/odd/j", "newfs", Lasting.UNKNOWN),
    ],
)
def test_the_mount_of_a_path(path: str, kind: str, expected: Lasting) -> None:
    mount = holding(PurePosixPath(path), parse(CONTAINER))
    assert mount is not None
    assert (mount.kind, lasting(mount)) == (kind, expected)


def test_where_nothing_is_told_nothing_is_known() -> None:
    assert holding(PurePosixPath("/a"), parse("")) is None
    assert lasting(None) is Lasting.UNKNOWN
