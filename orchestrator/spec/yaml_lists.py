"""The lists of a YAML spec: what multiplies, what is left out, and in which order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import overload

from orchestrator.domain.identity import canonical_json
from orchestrator.domain.models import InputField, models
from orchestrator.spec.cells import CellError, Noted, read_cell
from orchestrator.spec.yaml_tree import Node, Scalar, as_json


@dataclass(frozen=True, slots=True)
class Axis:
    """One list that multiplies: a field and the values it takes in turn."""

    name: str
    nodes: Sequence[Node]


class Counted(Sequence[Node]):
    """The whole numbers of `{count: N, from: S}`, each made when it is asked for."""

    def __init__(self, first: int, count: int, at: Node) -> None:
        self._numbers = range(first, first + count)
        self._at = at

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, index: int) -> Node: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Node]: ...
    def __getitem__(self, index: int | slice) -> Node | Sequence[Node]:
        if isinstance(index, slice):
            return [self._node(number) for number in self._numbers[index]]
        return self._node(self._numbers[index])

    def _node(self, number: int) -> Node:
        return Scalar(str(number), True, self._at.line, self._at.column)


Combination = tuple[Node, ...]
Exclusion = Mapping[str, frozenset[str]]
"""Field -> the values (as `settled` has them) of which any is meant; all fields must agree."""


def combinations(axes: Sequence[Axis], exclude: Sequence[Exclusion]) -> Iterator[Combination]:
    """Every combination that is not excluded, the last list fastest; one empty one of no lists."""
    named = {name for exclusion in exclude for name in exclusion}
    at = [(place, axis.name) for place, axis in enumerate(axes) if axis.name in named]
    for nodes in _product(axes):
        if exclude and excluded({name: settled(name, nodes[n]) for n, name in at}, exclude):
            continue
        yield nodes


def _product(axes: Sequence[Axis]) -> Iterator[Combination]:
    if not axes:
        yield ()
        return
    for node in axes[0].nodes:
        for others in _product(axes[1:]):
            yield (node, *others)


def excluded(row: Mapping[str, str], exclude: Sequence[Exclusion]) -> bool:
    """Whether any exclusion means this row, whose values are `settled`."""
    return any(
        all(row[name] in values for name, values in exclusion.items()) for exclusion in exclude
    )


def settled(name: str, node: Node) -> str:
    """One text for all ways to write one value of a field: `PRO` and `pro`, `5` and `5.0`."""
    if isinstance(node, Scalar):
        return _settled(name, node.text)
    value = as_json(node)
    try:
        return canonical_json(value)
    except ValueError:  # a number out of range: the row's check says so
        return str(value)


@lru_cache(maxsize=4096)
def _settled(name: str, text: str) -> str:
    described = _fields().get(name)
    if described is None:
        return text
    try:
        value = read_cell(described, text, decimal_comma=False)
        return canonical_json(value.value if isinstance(value, Noted) else value)
    except (CellError, ValueError):
        return text


@lru_cache(maxsize=1)
def _fields() -> Mapping[str, InputField]:
    return {field.name: field for model in models().values() for field in model.fields}
