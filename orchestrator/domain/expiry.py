"""When a URL says that it ends."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import parse_qsl, urlsplit

ASSUMED_LIFETIME_MS = 3_600_000
"""A URL that does not tell is taken for as old as its first sight, and for one hour."""
_SIGNATURES = {"x-amz-signature", "x-goog-signature", "signature", "sig"}
_MOMENTS = ("expires", "expire", "exp", "expiry", "se", "e")
"""Parameters with seconds since 1970, or (`se`, of shared access signatures) an ISO 8601 time."""


def url_expiry(url: str, seen_at: int) -> int:
    """The moment (ms) from which a URL may be dead; only good for putting URLs in an order.

    Understands what signed URLs of the common object stores and content networks carry:
    `X-Amz-Date` with `X-Amz-Expires`, `X-Goog-Date` with `X-Goog-Expires`, `Expires`, `se`.
    """
    moment = _stated(_parameters(url))
    return seen_at + ASSUMED_LIFETIME_MS if moment is None else moment


def known_expiry(url: str) -> int | None:
    """The moment (ms) from which a URL says that it is dead; None where it does not say."""
    try:
        return _stated(_parameters(url))
    except ValueError:
        return None


def signed_until(url: str, now: int) -> str | None:
    """How long a URL that looks temporary lasts, in words; None for one that does not.

    `now` in ms. Raises ValueError for what is no URL.
    """
    given = _parameters(url)
    moment = _stated(given)
    if moment is not None:
        when = f"{datetime.fromtimestamp(moment / 1000, UTC):%Y-%m-%d %H:%M} UTC"
        return f"has expired ({when})" if moment <= now else f"looks temporary (until {when})"
    return "looks temporary (it is signed)" if given.keys() & _SIGNATURES else None


def _parameters(url: str) -> dict[str, str]:
    return {name.lower(): value for name, value in parse_qsl(urlsplit(url).query)}


def _stated(given: Mapping[str, str]) -> int | None:
    for vendor in ("amz", "goog"):
        signed, lasts = given.get(f"x-{vendor}-date"), given.get(f"x-{vendor}-expires", "")
        moment = _moment(signed) if signed else None
        if moment is not None and lasts.isdecimal():
            return moment + int(lasts) * 1000
    for name in _MOMENTS:
        moment = _moment(given.get(name, ""))
        if moment is not None:
            return moment
    return None


def _moment(text: str) -> int | None:
    if not text:
        return None
    if text.isdecimal() and 9 <= len(text) <= 13:
        number = int(text)
        return number if len(text) > 11 else number * 1000
    for form in ("%Y%m%dT%H%M%SZ", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%MZ", "%Y-%m-%d"):
        try:
            return int(datetime.strptime(text, form).replace(tzinfo=UTC).timestamp() * 1000)
        except ValueError:
            continue
    return None
