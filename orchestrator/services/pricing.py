"""What a number of rows will cost, as far as the price book knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Estimate:
    """Nano-dollars. `low` counts only rows of known price; `high` is None where one is unknown."""

    low: int
    high: int | None

    @property
    def known(self) -> bool:
        return self.high is not None


def estimate(price_classes: Mapping[str, int], prices: Mapping[str, int]) -> Estimate:
    """`price_classes`: class -> rows; `prices`: class -> nano-dollars a row."""
    low = sum(number * prices.get(name, 0) for name, number in price_classes.items())
    unknown = any(number and name not in prices for name, number in price_classes.items())
    return Estimate(low, None if unknown else low)
