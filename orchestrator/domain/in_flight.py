"""How many tasks may be unfinished at the provider: in all, and of single models."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


def model_of(price_class: str) -> str:
    """Price classes begin with their model's slug."""
    return price_class.partition("/")[0]


@dataclass(frozen=True, slots=True)
class InFlight:
    """An account's limit; `most` None is no limit, and so is a model that is not named."""

    most: int | None = None
    by_model: Mapping[str, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return self.most is not None or bool(self.by_model)

    def __str__(self) -> str:
        most = () if self.most is None else (str(self.most),)
        return ",".join((*most, *(f"{model}={n}" for model, n in self.by_model.items())))

    def lowered(self, by_model: Mapping[str, int]) -> InFlight:
        """This limit, and for these models no more than so many either."""
        least = {m: min(n, self.by_model.get(m, n)) for m, n in by_model.items()}
        return InFlight(self.most, {**self.by_model, **least})

    def room(self, running: Mapping[str, int]) -> Room:
        """What is left beside what runs, given by model."""
        most = None if self.most is None else self.most - sum(running.values())
        return Room(most, {m: n - running.get(m, 0) for m, n in self.by_model.items()})


NO_LIMIT = InFlight()


@dataclass(frozen=True, slots=True)
class Room:
    """How many more may be in flight; zero or less is none."""

    most: int | None = None
    by_model: Mapping[str, int] = field(default_factory=dict)

    @property
    def full(self) -> list[str]:
        """Models of which no more may be in flight."""
        return [model for model, left in self.by_model.items() if left <= 0]

    def bound(self, size: int) -> int:
        """A number of rows, cut to what there is room for in all."""
        return size if self.most is None else max(0, min(size, self.most))

    def admits(self, models: Iterable[str]) -> list[bool]:
        """Which of these there is room for, taken in this order."""
        taken: Counter[str] = Counter()
        admitted = []
        for model in models:
            free = self.most is None or taken.total() < self.most
            fits = free and taken[model] < self.by_model.get(model, taken[model] + 1)
            taken[model] += fits
            admitted.append(fits)
        return admitted

    def less(self, models: Iterable[str]) -> Room:
        """What is left after these."""
        gone = Counter(models)
        most = None if self.most is None else self.most - gone.total()
        return Room(most, {model: left - gone[model] for model, left in self.by_model.items()})


PLENTY = Room()
