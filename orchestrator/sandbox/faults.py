"""Faults that can be switched on at the start and while serving; which request meets one is drawn
from the seed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from orchestrator.sandbox.engine import draw

KINDS = {
    # before anything is stored
    "error_500": "submit poll events output",
    "error_503": "submit poll events output",
    "rate_limit_429": "submit poll events",
    "reset": "submit poll events output",
    "hang": "submit poll events output",
    "reject_400": "submit",
    "reject_422": "submit",
    "unauthorized_401": "submit poll",
    "payment_402": "submit",
    "forbidden_403": "submit poll",
    "not_found_404": "submit poll",
    "conflict_409": "submit",
    "status": "submit poll events output",
    "garbage": "submit poll events",
    "truncated": "submit poll events",
    "empty": "submit poll events",
    # after the task and its charge are stored
    "error_502_after_commit": "submit",
    "error_503_after_commit": "submit",
    "lost_answer_after_commit": "submit",
    "hang_after_commit": "submit",
    "garbage_after_commit": "submit",
    "truncated_after_commit": "submit",
    "empty_after_commit": "submit",
    "no_estimate": "submit poll",
    # in what is said of a task
    "late_reads": "poll",
    "unknown_status": "poll",
    "backward_status": "poll",
    "stuck": "poll",
    "no_cost": "poll",
    "bad_cost": "submit poll",
    "cost_above_estimate": "poll",
    "no_output": "poll",
    "several_videos": "poll",
}
"""kind -> where it may be switched on."""
DESCRIBING = frozenset(
    {
        "late_reads",
        "unknown_status",
        "backward_status",
        "stuck",
        "no_cost",
        "bad_cost",
        "cost_above_estimate",
        "no_output",
        "several_videos",
        "no_estimate",
    }
)
"""These change what is said of a task; a task that has one has it every time."""


class FaultError(ValueError):
    """A fault that does not exist or is not written right."""


@dataclass(frozen=True, slots=True)
class Fault:
    """`rate`: the share of requests (or tasks) that meet it; `count`: at most so many of them."""

    on: str
    kind: str
    rate: float = 1.0
    count: int | None = None
    match: str | None = None
    """Only tasks whose prompt contains this."""
    retry_after: str | None = None
    status: int = 500
    seconds: float = 30.0
    value: str = "NaN"

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise FaultError(f"there is no fault {self.kind!r}; there are {', '.join(KINDS)}")
        if self.on not in KINDS[self.kind].split():
            raise FaultError(f"{self.kind} can be on {KINDS[self.kind]}, not on {self.on!r}")


def read(shape: object) -> list[Fault]:
    """A JSON list of faults. Raises FaultError."""
    if not isinstance(shape, list):
        raise FaultError("the faults must be a list of objects")
    try:
        return [Fault(**one) for one in shape]
    except TypeError as error:
        raise FaultError(f"a fault is an object with on, kind, rate, count, …: {error}") from None


def parse(text: str) -> Fault:
    """`submit:lost_answer_after_commit:0.1` from the command line. Raises FaultError."""
    on, _, rest = text.partition(":")
    kind, _, rate = rest.partition(":")
    try:
        return Fault(on, kind, float(rate) if rate else 1.0)
    except ValueError as error:
        raise FaultError(f"{text!r} is not on:kind:rate: {error}") from None


class Faults:
    """The faults that are on, and how often each has been met."""

    def __init__(self, seed: int, faults: Sequence[Fault] = ()) -> None:
        self._seed = seed
        self._asked: Counter[tuple[str, str]] = Counter()
        self.switch(faults)

    def switch(self, faults: Sequence[Fault]) -> None:
        self.faults = list(faults)
        self._met: Counter[int] = Counter()

    def meet(self, on: str, name: str, prompt: str) -> Fault | None:
        """The fault that this request meets; a repeated request draws anew."""
        self._asked[on, name] += 1
        return self._first(on, prompt, (name, self._asked[on, name]))

    def describing(self, on: str, name: str, prompt: str) -> dict[str, Fault]:
        """What is odd about what is said of this task, by kind; the same every time."""
        return {
            fault.kind: fault
            for fault in self.faults
            if fault.on == on
            and fault.kind in DESCRIBING
            and (fault.match or "") in prompt
            and draw(self._seed, fault.kind, name) < fault.rate
        }

    def _first(self, on: str, prompt: str, drawn: tuple[object, ...]) -> Fault | None:
        for index, fault in enumerate(self.faults):
            if fault.on != on or fault.kind in DESCRIBING:
                continue
            if (fault.match or "") not in prompt:
                continue
            if fault.count is not None and self._met[index] >= fault.count:
                continue
            if draw(self._seed, fault.kind, *drawn) < fault.rate:
                self._met[index] += 1
                return fault
        return None

    def as_json(self) -> list[dict[str, object]]:
        return [asdict(f) | {"met": self._met[i]} for i, f in enumerate(self.faults)]
