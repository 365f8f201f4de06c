"""Keys of a YAML spec that say how far and how fast a batch may go: priority, limit, canary."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from orchestrator.domain.canary import MAX_ROWS, MAX_WEIGHT, Canary, Pace, patience, ratio, share
from orchestrator.spec.yaml_more import Report, whole_number
from orchestrator.spec.yaml_tree import Entries, Node, Scalar, is_null

_READ: Mapping[str, tuple[str, Callable[[str], int]]] = {
    "failures": ("failures", share),
    "cost": ("cost", ratio),
    "deadline": ("patience", patience),
}


class PaceKeys:
    """Reads them from the top level's entries; what is wrong goes to `report`."""

    def __init__(self, entries: Mapping[str, tuple[Scalar, Node]], report: Report) -> None:
        self._entries = entries
        self._report = report

    def pace(self) -> Pace:
        limit = self._number("limit", MAX_ROWS)
        return Pace(limit, self._canary(), self._number("priority", MAX_WEIGHT))

    def _node(self, name: str) -> Node | None:
        _, node = self._entries.get(name, (None, None))
        return None if node is None or is_null(node) else node

    def _number(self, name: str, most: int) -> int | None:
        node = self._node(name)
        return None if node is None else self._whole(node, name, most)

    def _whole(self, node: Node, name: str, most: int) -> int | None:
        number = whole_number(node, 1, most)
        if number is None:
            text = node.text if isinstance(node, Scalar) else None
            mend = f"Write a whole number from 1 to {most:,}."
            self._report(node, name, text, "is not a number of that kind", mend)
        return number

    def _canary(self) -> Canary | None:
        """`canary: 10`, or a mapping of rows, failures, cost and deadline."""
        node = self._node("canary")
        if node is None:
            return None
        if not isinstance(node, Entries):
            rows = self._whole(node, "canary", MAX_ROWS)
            return None if rows is None else Canary(rows)
        given = {key.text: (key, value) for key, value in node.pairs}
        if "rows" not in given:
            self._report(node, "canary", None, "does not say how many rows", "Write rows: 10.")
            return None
        rows = self._whole(given["rows"][1], "rows", MAX_ROWS)
        canary = Canary(rows or 1)
        for name, (key, value) in given.items():
            if name != "rows":
                canary = self._with(canary, key, value)
        return canary

    def _with(self, canary: Canary, key: Scalar, value: Node) -> Canary:
        if key.text not in _READ:
            known = ", ".join(("rows", *_READ))
            self._report(key, key.text, None, "is not a key of canary", f"Known: {known}.")
            return canary
        name, read = _READ[key.text]
        text = value.text if isinstance(value, Scalar) else ""
        try:
            return replace(canary, **{name: read(text)})
        except ValueError as error:
            self._report(value, key.text, text, f"cannot be read: {error}", "Mend it.")
            return canary
