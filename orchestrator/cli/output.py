"""How things are printed: tables on a terminal, JSON lines off it, money always exact."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime

from rich.console import Console

from orchestrator.domain.money import to_usd


def console() -> Console:
    """For people; rich looks at the terminal and at NO_COLOR by itself."""
    return Console(highlight=False, soft_wrap=False)


def on_terminal() -> bool:
    return sys.stdout.isatty()


def print_json(value: object) -> None:
    print(json.dumps(value, ensure_ascii=False))


def emit(event: str, **values: object) -> None:
    """One NDJSON event on stdout, at once."""
    at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    print(json.dumps({"event": event, "at": at, **values}, ensure_ascii=False), flush=True)


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


def plural(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
