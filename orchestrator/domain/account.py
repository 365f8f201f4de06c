"""Accounts: the API keys by name, each with the limits that its provider's side has.

An account's `id` is a fingerprint of its key: that is what everything but the provider sees, and
what a purchase remembers. The name is what people say; another key under the same name is another
account.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from orchestrator.domain.in_flight import NO_LIMIT, InFlight

DEFAULT = "default"
"""The account of a batch that names none, and of the key without a name."""
KEY_VARIABLE = "MINDVIDEO_API_KEY"
_NAME = re.compile(r"[a-z0-9]+(_[a-z0-9]+)*")


def fingerprint(api_key: str) -> str:
    """Twelve hex digits that tell keys apart and give nothing of them away."""
    return hashlib.sha256(b"orchestrator api key\0" + api_key.encode()).hexdigest()[:12]


def account_name(text: str) -> str | None:
    """The name of an account however a person writes it (`Team-B` is `team_b`); None for none."""
    name = text.strip().lower().replace("-", "_")
    # MINDVIDEO_API_KEY_X_FILE says where the key of x is.
    if not _NAME.fullmatch(name) or name == "file" or name.endswith("_file") or len(name) > 40:
        return None
    return name


def key_variable(name: str) -> str:
    """The variable that holds an account's key."""
    return KEY_VARIABLE if name == DEFAULT else f"{KEY_VARIABLE}_{name.upper()}"


@dataclass(frozen=True, slots=True)
class Account:
    """An account whose key is configured here."""

    name: str
    id: str
    requests_per_second: float | None = None
    """What the limiter lets through; None without a limit."""
    in_flight: InFlight = NO_LIMIT

    @property
    def variable(self) -> str:
        return key_variable(self.name)

    def rows_in(self, seconds: float) -> int | None:
        """How many requests the rate lets through meanwhile, at least one; None without a rate."""
        rate = self.requests_per_second
        return None if rate is None else max(1, int(rate * seconds))

    def chunk_rows(self, usual: int, *, seconds: float) -> int:
        """How many rows a chunk has that should not take longer than `seconds`.

        Up to four times the usual number where a second is enough for them: what a chunk costs
        however small it is (its message, transactions, syncs) is shared by more rows then.
        """
        most = self.rows_in(seconds)
        if most is None:
            return usual
        return min(most, max(usual, min(4 * usual, self.rows_in(1.0) or usual)))


@dataclass(frozen=True, slots=True)
class Accounts:
    """The accounts that are configured here; none where there is no key at all."""

    every: tuple[Account, ...] = ()
    _by_id: Mapping[str, Account] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_id", {one.id: one for one in self.every})

    def __iter__(self) -> Iterator[Account]:
        return iter(self.every)

    def __len__(self) -> int:
        return len(self.every)

    def of(self, account_id: str) -> Account | None:
        """The account of a purchase."""
        return self._by_id.get(account_id)

    def named(self, name: str) -> Account | None:
        """The account of a batch."""
        return next((one for one in self.every if one.name == name), None)

    @property
    def ids(self) -> list[str]:
        return list(self._by_id)
