"""How things are printed: tables on a terminal, JSON lines off it, money always exact."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import typer

from orchestrator.domain.money import to_usd

if TYPE_CHECKING:  # rich takes a tenth of a short command's time: only what shows more imports it
    from rich.console import Console, RenderableType

    from orchestrator.services.pricing import Estimate

_PIPE_COLUMNS = 1000
"""Off a terminal nothing is wrapped: whoever reads it has a width of their own."""


def console() -> Console:
    """For people; rich looks at the terminal and at NO_COLOR by itself."""
    from rich.console import Console

    return Console(highlight=False, width=None if on_terminal() else _PIPE_COLUMNS)


def show(*parts: RenderableType) -> None:
    """Print on stdout; off a terminal without padding at the ends of lines."""
    out = console()
    if on_terminal():
        put(out, parts)
        return
    with out.capture() as captured:
        put(out, parts)
    print("\n".join(line.rstrip() for line in captured.get().splitlines()))


def put(out: Console, parts: Iterable[RenderableType]) -> None:
    """Print each; text that must not wrap, a URL, is left to the terminal, to be copied whole."""
    from rich.text import Text

    for part in parts:
        whole = isinstance(part, Text) and part.no_wrap is True
        out.print(part, crop=False, soft_wrap=whole)


def on_terminal() -> bool:
    return sys.stdout.isatty()


def can_answer() -> bool:
    """Whether a person is there to answer a question, even where the output goes into a file."""
    return on_terminal() or (sys.stdin.isatty() and sys.stderr.isatty())


def ask(question: str) -> bool:
    """A yes or no, asked beside the output proper; no is what an empty answer means."""
    return typer.confirm(question, default=False, err=True)


def print_json(value: object) -> None:
    print(json.dumps(value, ensure_ascii=False))


def emit(event: str, **values: object) -> None:
    """One NDJSON event on stdout, at once."""
    at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    line = json.dumps({"event": event, "at": at, **values}, ensure_ascii=False)
    # In one piece: a run and its downloads speak from two threads.
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def say(text: str) -> None:
    """A remark beside the output proper."""
    print(text, file=sys.stderr, flush=True)


def dollars(nanos: int | None) -> str:
    """$1.24, exact, with at least two decimals; an absent amount is unknown."""
    if nanos is None:
        return "unknown"
    text = to_usd(nanos)
    whole, _, fraction = text.partition(".")
    sign = "-" if whole.startswith("-") else ""
    return f"{sign}${int(whole.lstrip('-')):,}.{fraction:0<2}"


def about(cost: Estimate) -> str:
    """What something will cost, in the words of a question about it."""
    if cost.known:
        return f"about {dollars(cost.low)}"
    if cost.low:
        return f"{dollars(cost.low)} for those of known price, the rest unknown"
    return "price unknown until the first answer"


def plural(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
