"""A schedule as a person writes it: terms in, a definition or every problem out."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from orchestrator.domain.models import suggestion
from orchestrator.domain.money import AmountError, parse_amount, to_usd
from orchestrator.domain.schedule import (
    DAY,
    HOUR,
    MINUTE,
    CatchUp,
    Overlap,
    Policy,
    TermError,
    Timetable,
    check_cron,
    check_zone,
)

TERMS = (
    "spec",
    "name",
    "cron",
    "tz",
    "budget",
    "overlap",
    "catch_up",
    "catch_up_window",
    "catch_up_max",
    "pause_after_failures",
)
LONGEST_WINDOW = 31 * DAY
MOST_CAUGHT_UP = 100
_UNITS = {"m": MINUTE, "h": HOUR, "d": DAY}
_SPAN = re.compile(r"([0-9]{1,6})\s*([mhd])")
_NAME = re.compile(r"[A-Za-z0-9._:+-]{1,100}")
_T = TypeVar("_T")
_E = TypeVar("_E", bound=StrEnum)


@dataclass(frozen=True, slots=True)
class Definition:
    """What a schedule is to do. `spec` is an absolute path; money in nano-dollars."""

    name: str
    spec: str
    batch_name: str
    table: Timetable
    budget_nanos: int | None
    policy: Policy

    def terms(self) -> dict[str, str | None]:
        """As a person writes them: for the eye, and to see what changed."""
        policy = self.policy
        return {
            "spec": self.spec,
            "name": self.batch_name,
            "cron": self.table.cron,
            "tz": self.table.zone,
            "budget": None if self.budget_nanos is None else to_usd(self.budget_nanos),
            "overlap": policy.overlap.value,
            "catch_up": policy.catch_up.value,
            "catch_up_window": shown_span(policy.window),
            "catch_up_max": str(policy.most),
            "pause_after_failures": None if policy.pause_after is None else str(policy.pause_after),
        }


def check_name(name: str, term: str) -> str:
    """Names of schedules are made of the same characters as those of batches."""
    if _NAME.fullmatch(name):
        return name
    mend = "Use letters without accents, digits and . _ : + - only, at most 100."
    raise TermError(term, name, "has characters that names cannot have", mend)


def read_terms(
    terms: Mapping[str, str], *, name: str, spec: str, batch_name: str
) -> tuple[Definition | None, list[TermError]]:
    """The definition, or everything that is wrong with the terms; absent ones are the usual."""
    problems: list[TermError] = []

    def take(term: str, read: Callable[[str], _T], usual: _T) -> _T:
        if term not in terms:
            return usual
        try:
            return read(terms[term])
        except TermError as error:
            problems.append(error)
            return usual

    usual = Policy()
    if "cron" not in terms:
        mend = 'Write when it runs, such as "0 2 * * *".'
        problems.append(TermError("cron", "", "is missing", mend))
    cron = take("cron", check_cron, "")
    zone = take("tz", check_zone, "UTC")
    budget = take("budget", _budget, None)
    policy = Policy(
        take("overlap", lambda text: _choice("overlap", Overlap, text), usual.overlap),
        take("catch_up", lambda text: _choice("catch_up", CatchUp, text), usual.catch_up),
        take("catch_up_window", _span, usual.window),
        take("catch_up_max", lambda text: _count("catch_up_max", text), usual.most),
        take("pause_after_failures", lambda text: _count("pause_after_failures", text), None),
    )
    for term, text in (("schedule", name), ("name", batch_name)):
        try:
            check_name(text, term)
        except TermError as error:
            problems.append(error)
    if problems:
        return None, problems
    return Definition(name, spec, batch_name, Timetable(cron, zone), budget, policy), []


def _budget(text: str) -> int | None:
    try:
        return parse_amount(text.strip().removeprefix("$")).nanos
    except AmountError as error:
        raise TermError("budget", text, str(error), "Write USD, such as 25.50.") from None


def _choice(term: str, kind: type[_E], text: str) -> _E:
    known = [one.value for one in kind]
    if text in known:
        return kind(text)
    meant = suggestion(text, known)
    mend = f"Did you mean {meant}?" if meant else f"Write one of {', '.join(known)}."
    raise TermError(term, text, "is not a choice", mend)


def _span(text: str) -> int:
    match = _SPAN.fullmatch(text.strip())
    span = int(match[1]) * _UNITS[match[2]] if match else 0
    if not 0 < span <= LONGEST_WINDOW:
        mend = "Write a number and m, h or d, such as 12h; at most 31d."
        raise TermError("catch_up_window", text, "is not a span of time", mend)
    return span


def _count(term: str, text: str) -> int:
    if text.isascii() and text.isdecimal() and 1 <= int(text) <= MOST_CAUGHT_UP:
        return int(text)
    mend = f"Write a whole number from 1 to {MOST_CAUGHT_UP}."
    raise TermError(term, text, "is not such a number", mend)


def shown_span(span: int) -> str:
    for unit, size in reversed(_UNITS.items()):
        if span % size == 0:
            return f"{span // size}{unit}"
    return f"{span // MINUTE}m"
