"""What a number of rows will cost, as far as the price book knows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from orchestrator.domain.money import to_usd
from orchestrator.store.prices import Price


@dataclass(frozen=True, slots=True)
class Estimate:
    """Nano-dollars. `low` counts only rows of known price; `high` is None where one is unknown."""

    low: int
    high: int | None

    @property
    def known(self) -> bool:
        return self.high is not None


def estimate(price_classes: Mapping[str, int], known: Mapping[str, int]) -> Estimate:
    """`price_classes`: class -> rows; `known`: class -> nano-dollars a row."""
    low = sum(number * known.get(name, 0) for name, number in price_classes.items())
    unknown = any(number and name not in known for name, number in price_classes.items())
    return Estimate(low, None if unknown else low)


def amounts(book: Mapping[str, Price]) -> dict[str, int]:
    """Price class -> nano-dollars."""
    return {name: price.nanos for name, price in book.items()}


def origin(price: Price | None) -> str:
    """Where a price is from, in words with its date."""
    if price is None:
        return "unknown until the first answer"
    day = datetime.fromtimestamp(price.at / 1000, UTC).date()
    return f"learned {day}" if price.source is None else f"from {price.source}, {day}"


def disagreements(book: Mapping[str, Price], names: Iterable[str]) -> list[str]:
    """A sentence for each class whose listed price is not what the provider asks."""
    return [
        f"{name}: the provider asks {to_usd(price.nanos)} USD ({origin(price)}), the price file "
        f"says {to_usd(price.listed)}; the provider's price counts"
        for name, price in sorted(book.items())
        if name in set(names) and price.listed is not None and price.listed != price.nanos
    ]
