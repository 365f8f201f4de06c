"""Prices from a file: known before the provider has named its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.domain.money import Cost
from orchestrator.services.context import Context
from orchestrator.spec import read_prices
from orchestrator.store import prices
from orchestrator.store.engine import Tx
from orchestrator.store.prices import Price


@dataclass(frozen=True, slots=True)
class PriceFile:
    """A price file as read; without a path it has no prices."""

    path: Path | None = None
    listed: Mapping[str, Cost] = field(default_factory=dict)

    @property
    def source(self) -> str:
        """What the price book calls it."""
        return "" if self.path is None else self.path.name

    def over(self, book: Mapping[str, Price], at: int) -> dict[str, Price]:
        """A price book with this file in it."""
        return prices.overlay(book, self.listed, self.source, at)

    def put(self, tx: Tx, provider: str) -> None:
        """Have its prices count in this database."""
        prices.put_listed(tx, provider, self.listed, self.source)


def price_file(context: Context | None, told: Path | None) -> PriceFile:
    """The file that a command was told, else the setting's. Raises SpecError."""
    path = told or (None if context is None else context.price_file)
    return PriceFile() if path is None else PriceFile(path, read_prices(path))
