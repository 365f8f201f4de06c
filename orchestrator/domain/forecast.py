"""When a batch will be done, from how long its own rows took. Milliseconds throughout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

SAMPLE = 200
"""Ends that are looked at: the latest ones, so that a provider that slows down is noticed."""
_FEWEST = 3


@dataclass(frozen=True, slots=True)
class End:
    """One row that came to its end: when, and how long after it was accepted."""

    at: int
    took: int


@dataclass(frozen=True, slots=True)
class Forecast:
    """`low` to `high` is where nearly all ends would lie that are like the latest ones."""

    low: int
    likely: int
    high: int
    per_second: float
    """Rows that end, over the sample."""


def forecast(
    ends: Sequence[End], *, now: int, unsent: int, running: int, youngest: int
) -> Forecast | None:
    """What is still to come; None while too little is known, or nothing is left.

    `ends`: the latest of the batch, in any order. `unsent` rows wait, `running` are at the
    provider, the youngest of them for `youngest`. First the rows that wait are sent at the pace
    of the ends; then the last of them takes its run time, of which the slow ones decide.
    """
    if len(ends) < _FEWEST or unsent + running <= 0:
        return None
    moments = sorted(end.at for end in ends)
    span = max(1, max(now, moments[-1]) - moments[0])
    pace = len(ends) / span
    took = sorted(end.took for end in ends)
    doubt = min(0.8, 2 / sqrt(len(ends)))
    begun = 0 if unsent else youngest
    last = max(running, 1) / (max(running, 1) + 1)

    def left(share: float, stretch: float, error: float) -> int:
        tail = max(0, _quantile(took, share) * stretch - begun)
        return round(unsent / (pace * (1 + error)) + tail)

    likely = left(last, 1.0, 0.0)
    low = min(likely, left(0.5, 1.0, doubt))
    high = max(likely, left(1.0, 1.25, -doubt))
    return Forecast(low, likely, high, pace * 1000)


def _quantile(ordered: Sequence[int], share: float) -> int:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


@dataclass(frozen=True, slots=True)
class Expectation:
    """How long rows that are not yet submitted would take, from `low` to `high`."""

    low: int
    high: int
    sample: int
    """Earlier rows that it is judged by."""


def expect(
    samples: Sequence[Sequence[End]], rows: int, *, per_second: float | None, in_flight: int | None
) -> Expectation | None:
    """The time from the first sending to the last end; None while too little is known.

    `samples`: for each of the latest batches its latest ends. At best rows are sent as fast as
    the limits of this installation allow. The pace that was seen counts where a sample is full:
    less may have been all that there was to do.
    """
    ends = [end for sample in samples for end in sample]
    if len(ends) < _FEWEST or rows <= 0:
        return None
    took = sorted(end.took for end in ends)
    sending = rows / per_second * 1000 if per_second else 0.0
    if in_flight:
        sending = max(sending, (rows / in_flight - 1) * sum(took) / len(took))
    slow = max([sending, *(rows / _pace(sample) for sample in samples if len(sample) >= SAMPLE)])
    low = sending + _quantile(took, 0.5)
    high = slow * 1.25 + took[-1] * 1.25
    return Expectation(round(low), max(round(low), round(high)), len(ends))


def _pace(ends: Sequence[End]) -> float:
    moments = [end.at for end in ends]
    return len(ends) / max(1, max(moments) - min(moments))
