"""Exact money: `Decimal` in the program, integer nano-dollars in storage, text in JSON."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, Context, Decimal, InvalidOperation
from functools import lru_cache

NANOS_PER_USD = 1_000_000_000
MAX_USD = Decimal(1_000_000_000)
"""Above this an amount is unreadable rather than large; it keeps nanos inside 64 bits."""

_EXACT = Context(prec=80)


class AmountError(ValueError):
    """A text or number that is no amount of money; the message says why."""


@dataclass(frozen=True, slots=True)
class Cost:
    """An amount the provider named: nano-dollars rounded up, beside its own text."""

    nanos: int
    text: str


def parse_amount(value: str | int | Decimal) -> Cost:
    """Read an amount in USD that is finite and not negative.

    Raises AmountError. Binary floats are refused by type: parse JSON with
    `parse_float=Decimal` so that none ever exists.
    """
    text = str(value).strip()
    if isinstance(value, bool):
        raise AmountError(f"{text} is not an amount")
    return _parse(text)


@lru_cache(maxsize=256)
def _parse(text: str) -> Cost:
    """The same few prices come with every answer."""
    try:
        amount = Decimal(text)
    except InvalidOperation:
        raise AmountError(f"{text[:40]!r} is not an amount") from None
    if not amount.is_finite():
        raise AmountError(f"{text[:40]} is not a finite amount")
    if amount < 0:
        raise AmountError(f"{text[:40]} is negative")
    if amount > MAX_USD:
        raise AmountError(f"{text[:40]} is more than {MAX_USD:,} USD")
    return Cost(nanos=to_nanos(amount), text=text)


def to_nanos(amount: Decimal) -> int:
    """USD to nano-dollars, rounded up so that a sum never understates what is owed."""
    scaled = _EXACT.multiply(amount, Decimal(NANOS_PER_USD))
    return int(scaled.to_integral_value(rounding=ROUND_CEILING, context=_EXACT))


def to_usd(nanos: int) -> str:
    """Nano-dollars as a plain decimal string, without exponent or trailing zeros."""
    text = f"{Decimal(nanos).scaleb(-9, context=_EXACT):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def to_usd_or_none(nanos: int | None) -> str | None:
    return None if nanos is None else to_usd(nanos)
