"""Lengths of time as people write them."""

from __future__ import annotations

import re

_UNITS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)", re.ASCII)


def to_ms(text: str) -> int:
    """`90s`, `15m`, `24h`, `7d` in milliseconds. Raises ValueError with a sentence."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ValueError("a duration is a number and a unit, such as 90s, 15m, 24h or 7d")
    return round(float(match[1]) * _UNITS[match[2]])
