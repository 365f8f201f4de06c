"""A file of prices: what one row of each price class costs, before the provider has said so."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from orchestrator.domain.models import price_classes, shown, suggestion
from orchestrator.domain.money import AmountError, Cost, parse_amount
from orchestrator.errors import Problem, SpecError
from orchestrator.spec.files import Source, opened, require_file, require_text
from orchestrator.spec.yaml_tree import Entries, Scalar, read_tree

_BEGIN = "Write lines such as `kling-v2-6/std/5s/silent: 0.0414`."
_HEADER = ("price_class", "usd")
_YAML = frozenset({".yaml", ".yml"})

_Line = tuple[int, str, str]
"""(line, price class, amount) as written."""


def read_prices(path: Path) -> dict[str, Cost]:
    """Price class -> USD for one row. Raises SpecError with every problem of the file."""
    if require_file(path) == 0:
        raise SpecError(f"{path} is empty", mend=_BEGIN, code="empty")
    source = Source(str(path), path)
    require_text(source)
    problems: list[Problem] = []
    prices: dict[str, Cost] = {}
    lines = _yaml if path.suffix.lower() in _YAML else _csv
    for line, name, amount in lines(source, problems):
        found = _checked(str(path), line, name, amount)
        if isinstance(found, Problem):
            problems.append(found)
        elif name in prices:
            message, mend = "has two prices", "Leave one of them out."
            problems.append(Problem(str(path), line, 1, shown(name), None, message, mend))
        else:
            prices[name] = found
    if problems:
        many = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        mend = "Mend the places named, then give the same command again."
        raise SpecError(f"the price file {path} has {many}", mend=mend, problems=problems)
    return prices


def _checked(file: str, line: int, name: str, amount: str) -> Cost | Problem:
    """The price of a class that is known, above zero: a price of nothing would hold no money."""
    if name not in price_classes():
        meant = suggestion(name, price_classes())
        mend = f"Did you mean {meant}?" if meant else f"Known: {', '.join(price_classes())}."
        return Problem(file, line, 1, shown(name), None, "is not a known price class", mend)
    try:
        cost = parse_amount(amount.strip().removeprefix("$"))
    except AmountError as error:
        message = str(error)
    else:
        if cost.nanos > 0:
            return cost
        message = "is not above zero"
    return Problem(file, line, 2, name, shown(amount), message, "Write USD, such as 0.0414.")


def _yaml(source: Source, problems: list[Problem]) -> Iterator[_Line]:
    root, twice = read_tree(source)
    problems += twice
    if not isinstance(root, Entries):
        raise SpecError(f"{source} is not a mapping of price classes", mend=_BEGIN)
    for key, node in root.pairs:
        if isinstance(node, Scalar):
            yield key.line, key.text, node.text
        else:
            message, mend = "must be a single amount", "Write USD, such as 0.0414."
            where = Problem(str(source), key.line, key.column, shown(key.text), None, message, mend)
            problems.append(where)


def _csv(source: Source, _problems: list[Problem]) -> Iterator[_Line]:
    mend = "Begin with the line `price_class,usd`."
    with opened(source) as file:
        reader = csv.reader(file)
        try:
            header = [cell.strip().lower() for cell in next(reader, [])]
            if not set(_HEADER) <= set(header):
                raise SpecError(f"{source} lacks the columns price_class and usd", mend=mend)
            at, amount_at = (header.index(name) for name in _HEADER)
            for cells in reader:
                if any(cell.strip() for cell in cells):
                    padded = [*cells, *[""] * len(header)]
                    yield reader.line_num, padded[at].strip(), padded[amount_at]
        except csv.Error as error:
            raise SpecError(f"{source}:{reader.line_num}: is not CSV: {error}", mend=mend) from None
