"""Keys of a YAML spec that shape its rows: keep, exclude, include, counted seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from orchestrator.domain.account import account_name
from orchestrator.domain.deadline import Deadline, parse_deadline
from orchestrator.domain.models import suggestion
from orchestrator.spec.cells import CellError
from orchestrator.spec.own import check_kept
from orchestrator.spec.yaml_lists import Axis, Counted, Exclusion, combinations, excluded, settled
from orchestrator.spec.yaml_tree import Entries, Items, Node, Scalar, is_null

MAX_TAKES = 1000
MAX_EXCLUDES = 100
"""Each combination is held against each of them."""
MAX_SEEDS = 1_000_000
MAX_SEED = 2**31 - 1
"""The schema's bound, told here once instead of once for each seed beyond it."""
_SHOWN = 12


class Report(Protocol):
    """Tells a problem at a node."""

    def __call__(
        self, at: Node, name: str, value: str | None, message: str, mend: str, /
    ) -> None: ...


def whole_number(node: Node, least: int, most: int) -> int | None:
    """The number that is written here, None where it is none or out of bounds."""
    if not isinstance(node, Scalar) or not node.text.isdecimal() or len(node.text) > len(str(most)):
        return None
    number = int(node.text)
    return number if least <= number <= most else None


class MoreKeys:
    """Reads them from the top level's entries; what is wrong goes to `report`."""

    def __init__(self, entries: Mapping[str, tuple[Scalar, Node]], report: Report) -> None:
        self._entries = entries
        self._report = report
        self._values: dict[str, frozenset[str]] = {}

    def deadline(self, node: Scalar | None) -> Deadline | None:
        """A moment with its zone, or a length of time."""
        if node is None:
            return None
        try:
            return parse_deadline(node.text)
        except (ValueError, OverflowError):
            mend = "Write a moment with its zone, such as 2026-12-01T18:00Z, or a span: 6h, 2d."
            self._report(node, "deadline", node.text, "is no deadline", mend)
            return None

    def account(self, node: Scalar | None) -> str | None:
        """The name of an API key."""
        name = None if node is None else account_name(node.text)
        if node is not None and name is None:
            mend = "Use letters, digits and single _ only, as in MINDVIDEO_API_KEY_<NAME>."
            self._report(node, "account", node.text, "cannot be the name of an account", mend)
        return name

    def download(self, node: Scalar | None) -> str | None:
        """Where the videos go: a folder or a URL."""
        if node is None or (isinstance(node.value, str) and node.text.strip()):
            return None if node is None else node.text
        self._report(
            node, "download", node.text, "is not a folder's name", "Name a folder, such as videos."
        )
        return None

    def reuse(self, node: Scalar | None) -> bool:
        """Whether earlier successes are taken."""
        if node is not None and not isinstance(node.value, bool):
            self._report(node, "reuse", node.text, "is not true or false", "Write true or false.")
        return node is not None and node.value is True

    def keep(self) -> frozenset[str]:
        """The folded names of own columns."""
        _, node = self._entries.get("keep", (None, None))
        if node is None or is_null(node):
            return frozenset()
        nodes = node.nodes if isinstance(node, Items) else (node,)
        kept = set()
        for entry in nodes:
            if not isinstance(entry, Scalar):
                mend = "Write names of columns: keep: [sku, owner]."
                self._report(entry, "keep", None, "is no name of a column", mend)
                continue
            try:
                kept.add(check_kept(entry.text))
            except CellError as error:
                self._report(entry, "keep", entry.text, error.message, error.mend)
        return frozenset(kept)

    def seeds(self, node: Entries) -> Sequence[Node]:
        """`{count: N, from: S}`: N seeds from S (default 0) upwards."""
        given = {key.text: value for key, value in node.pairs}
        for key, _ in node.pairs:
            if key.text not in {"count", "from"}:
                mend = "Write seeds: {count: 3, from: 100}, or a list of seeds."
                self._report(key, key.text, None, "is not a key of seeds", mend)
        count = whole_number(given.get("count", node), 1, MAX_SEEDS)
        first = 0 if "from" not in given else whole_number(given["from"], 0, MAX_SEED)
        if count is None:
            at = given.get("count", node)
            mend = f"Write count as a whole number from 1 to {MAX_SEEDS:,}."
            self._report(at, "seeds", _written(at), "has no number of seeds", mend)
        if first is None:
            mend = f"Write from as a whole number from 0 to {MAX_SEED:,}."
            at = given["from"]
            self._report(at, "seeds", _written(at), "does not begin at a seed", mend)
        if count is None or first is None:
            return ()
        if first + count - 1 > MAX_SEED:
            mend = "Begin lower, or count fewer."
            message = f"goes beyond the largest seed, {MAX_SEED:,}"
            self._report(node, "seeds", None, message, mend)
            return ()
        return Counted(first, count, node)

    def exclude(self, axes: Sequence[Axis]) -> tuple[Exclusion, ...]:
        """What combinations to leave out; each must leave one out."""
        found: list[Exclusion] = []
        _, node = self._entries.get("exclude", (None, None))
        if node is None or is_null(node):
            return ()
        entries = node.nodes if isinstance(node, Items) else (node,)
        if len(entries) > MAX_EXCLUDES:
            mend = "Give several values in one: - {size: [16:9, 1:1], duration: 10}."
            message = f"has more than {MAX_EXCLUDES} entries"
            self._report(node, "exclude", None, message, mend)
            return ()
        lists = {axis.name: axis for axis in axes}
        for entry in entries:
            exclusion = self._exclusion(entry, lists)
            if exclusion:
                found.append(exclusion)
        if found and next(combinations(axes, found), None) is None:
            self._report(node, "exclude", None, "leaves nothing", "Exclude less.")
        return tuple(found)

    def _exclusion(self, entry: Node, lists: Mapping[str, Axis]) -> Exclusion:
        if not isinstance(entry, Entries) or not entry.pairs:
            mend = "Write what to leave out: - {size: 1:1, duration: 10}."
            self._report(entry, "exclude", None, "must be a mapping", mend)
            return {}
        return {
            key.text: self._excluded_values(key, value, lists[key.text])
            for key, value in entry.pairs
            if self._is_list(key, lists)
        }

    def _is_list(self, key: Scalar, lists: Mapping[str, Axis]) -> bool:
        if key.text in lists:
            return True
        meant = suggestion(key.text, lists)
        mend = f"Did you mean {meant}?" if meant else f"The lists: {', '.join(lists)}."
        self._report(key, key.text, None, "is not one of the lists", mend)
        return False

    def _excluded_values(self, key: Scalar, node: Node, axis: Axis) -> frozenset[str]:
        nodes = node.nodes if isinstance(node, Items) else (node,)
        there = self._values_of(axis)
        wanted = frozenset(settled(axis.name, value) for value in nodes)
        for value in nodes:
            if settled(axis.name, value) not in there:
                some = [text for one in axis.nodes[:_SHOWN] if (text := _written(one))]
                mend = f"The list has {', '.join(some)}." if some else "Look at the list."
                message = "excludes nothing: the list does not have it"
                self._report(value, key.text, _written(value), message, mend)
        return wanted

    def check_include(
        self, include: Sequence[Node], axes: Sequence[Axis], exclude: Sequence[Exclusion]
    ) -> None:
        """A row that the lists make already would be paid for twice."""
        for row in include:
            if not isinstance(row, Entries) or not axes:
                continue
            own = {key.text: settled(key.text, value) for key, value in row.pairs}
            if set(own) != {axis.name for axis in axes}:
                continue
            made = all(own[axis.name] in self._values_of(axis) for axis in axes)
            if made and not excluded(own, exclude):
                mend = "Leave it out; for more videos of one input write takes: 2."
                self._report(row, "include", None, "is made by the lists already", mend)

    def _values_of(self, axis: Axis) -> frozenset[str]:
        found = self._values.get(axis.name)
        if found is None:
            found = frozenset(settled(axis.name, node) for node in axis.nodes)
            self._values[axis.name] = found
        return found


def _written(node: Node) -> str | None:
    return node.text if isinstance(node, Scalar) else None
