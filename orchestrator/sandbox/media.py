"""The outputs: packaged clips of the right shape and length, made unique by a small box each."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent / "media_files"
SHAPES = {"16:9": (256, 144), "9:16": (144, 256), "1:1": (192, 192)}
"""Pixels: the documented aspect ratios, small enough to package."""
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


def clip_name(size: str, seconds: int, *, audio: bool) -> str:
    return f"{size.replace(':', 'x')}-{seconds}s{'-audio' if audio else ''}.mp4"


@cache
def _clip(name: str) -> bytes:
    return (FOLDER / name).read_bytes()


def output(task_id: str, ordinal: int, size: str, seconds: int, *, audio: bool) -> bytes:
    """A playable MP4 with a `free` box at its end that names the task."""
    mark = f"{task_id}/{ordinal}".encode()
    box = (8 + len(mark)).to_bytes(4, "big") + b"free" + mark
    return _clip(clip_name(size, seconds, audio=audio)) + box


def byte_range(header: str | None, length: int) -> tuple[int, int] | None:
    """(first, last) byte of a Range header; None for the whole. Raises ValueError for a bad one."""
    if not header:
        return None
    match = _RANGE.fullmatch(header.strip())
    if match is None or not (match[1] or match[2]):
        raise ValueError(header)
    if match[1]:
        first, last = int(match[1]), int(match[2]) if match[2] else length - 1
    else:
        first, last = max(0, length - int(match[2])), length - 1
    last = min(last, length - 1)
    if first > last:
        raise ValueError(header)
    return first, last
