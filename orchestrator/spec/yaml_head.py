"""The top level of a YAML spec: which keys there are, and what each may hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import prod

from orchestrator.domain.batch import NAME
from orchestrator.domain.models import UnknownModelError, get_model, models, shown, suggestion
from orchestrator.domain.money import AmountError, parse_amount
from orchestrator.errors import Problem, SpecError
from orchestrator.spec.entries import SpecHeader
from orchestrator.spec.files import Source
from orchestrator.spec.yaml_lists import Axis, Exclusion
from orchestrator.spec.yaml_more import MAX_TAKES, MoreKeys, whole_number
from orchestrator.spec.yaml_pace import PaceKeys
from orchestrator.spec.yaml_tree import Entries, Items, Node, Scalar, is_null

MAX_PRODUCT = 1_000_000
"""Rows that lists may multiply to: more is a slip, or many files."""

MAX_RETRIES = 10

_NOT_A_DEFAULT = {
    "id": "An id belongs to one row: write it in items.",
    "model": "Write model at the top level.",
    "prompt": "Write prompts at the top level, or prompt in each of items.",
}

_KEYS = (
    "name", "account", "model", "budget", "retries", "deadline", "download", "reuse",
    "takes", "keep", "rows", "id", "priority", "limit", "canary",
    "defaults", "items", "include", "exclude",
)  # fmt: skip

Pair = tuple[Scalar, Node]


@dataclass(frozen=True, slots=True)
class YamlHead:
    """`axes` in the order of expansion: prompts outermost, then as the schema has its fields.

    `items` come before what they make, `include` after it; `rows` names the table whose rows they
    multiply, `row_id` is the template of those rows' ids.
    """

    header: SpecHeader
    defaults: tuple[Pair, ...]
    items: tuple[Node, ...]
    axes: tuple[Axis, ...]
    problems: tuple[Problem, ...]
    exclude: tuple[Exclusion, ...] = ()
    include: tuple[Node, ...] = ()
    takes: int = 1
    keep: frozenset[str] = frozenset()
    rows: Scalar | None = None
    row_id: Scalar | None = None


def field_names() -> tuple[str, ...]:
    """The fields of all models: prompt first, then as the API document has them."""
    fields = [described.name for model in models().values() for described in model.fields]
    return tuple(dict.fromkeys(("prompt", *fields)))


def synonyms() -> dict[str, str]:
    """Field -> the field it is sent as, of all models."""
    return {name: sent for model in models().values() for name, sent in model.synonyms.items()}


def axis_names() -> dict[str, str]:
    """Key at the top level -> field: `size` and `sizes`; `image_urls` is a list of image_url."""
    folded = synonyms()
    singular = [name for name in field_names() if name not in folded]
    return {key: name for name in singular for key in (name, f"{name}s")}


def known_keys() -> tuple[str, ...]:
    """Every key of the top level."""
    return (*_KEYS, *axis_names())


def read_head(source: Source, root: Node, twice: tuple[Problem, ...]) -> YamlHead:
    """Sort out the top level. Raises SpecError where it is no mapping or makes no rows."""
    if not isinstance(root, Entries):
        mend = "Begin with `prompts:` or `items:` and write a list below it."
        message = "the top level is not a mapping"
        problem = Problem(str(source), root.line, root.column, None, None, message, mend)
        raise SpecError(f"{source}: {message}", mend=mend, problems=[problem])
    reading = _Reading(source, root, list(twice))
    head = reading.head()
    if not (head.items or head.include or head.axes or head.rows or head.problems):
        mend = "Write `prompts:` or `items:` and a list below it."
        raise SpecError(f"{source} has no rows", mend=mend, code="no_rows")
    return head


class _Reading:
    def __init__(self, source: Source, root: Entries, problems: list[Problem]) -> None:
        self._file = str(source)
        self._root = root
        self._entries = {key.text: (key, value) for key, value in root.pairs}
        self._problems = problems

    def head(self) -> YamlHead:
        self._report_unknown()
        rows, row_id = self._scalar("rows"), self._scalar("id")
        table = None if rows is None else rows.text
        more = MoreKeys(self._entries, self._report)
        header = SpecHeader(
            name=self._name(),
            model=self._model(),
            budget=self._budget(),
            retries=self._retries(),
            deadline=more.deadline(self._scalar("deadline")),
            download=more.download(self._scalar("download")),
            reuse=more.reuse(self._scalar("reuse")),
            table=table,
            pace=PaceKeys(self._entries, self._report).pace(),
            account=more.account(self._scalar("account")),
        )
        if row_id is not None and rows is None:
            mend = "Write it in each of items, or name a table of rows."
            self._report(row_id, "id", row_id.text, "is one id for many rows", mend)
        keep, takes = more.keep(), self._takes()
        defaults = self._defaults()
        items, include = self._listed("items"), self._listed("include")
        axes = self._axes(takes, table=rows is not None)
        exclude = more.exclude(axes) if axes else ()
        more.check_include(include, axes, exclude)
        return YamlHead(
            header, defaults, items, axes, tuple(self._problems),
            exclude, include, takes, keep, rows, row_id,
        )  # fmt: skip

    def _report_unknown(self) -> None:
        known = known_keys()
        for key, _ in self._root.pairs:
            if key.text not in known:
                meant = suggestion(key.text, known)
                mend = f"Did you mean {meant}?" if meant else "Leave it out."
                self._report(key, key.text, None, "is not a known key", mend)

    def _name(self) -> str | None:
        node = self._scalar("name")
        if node is None or NAME.fullmatch(node.text):
            return None if node is None else node.text
        self._report(
            node,
            "name",
            node.text,
            "has characters that names cannot have",
            "Use letters without accents, digits and . _ : + - only.",
        )
        return None

    def _model(self) -> str | None:
        node = self._scalar("model")
        if node is None:
            return None
        try:
            return get_model(node.text).slug
        except UnknownModelError as error:
            self._report(node, "model", node.text, error.message, error.mend)
            return None

    def _budget(self) -> Decimal | None:
        node = self._scalar("budget")
        if node is None:
            return None
        try:
            return Decimal(parse_amount(node.text.strip().removeprefix("$")).text)
        except AmountError as error:
            self._report(node, "budget", node.text, str(error), "Write USD, such as 25.50.")
            return None

    def _retries(self) -> int:
        node = self._scalar("retries")
        if node is None:
            return 0
        number = whole_number(node, 0, MAX_RETRIES)
        if number is None:
            mend = f"Write a whole number from 0 to {MAX_RETRIES}."
            self._report(node, "retries", node.text, "is not a number of retries", mend)
        return number or 0

    def _takes(self) -> int:
        node = self._scalar("takes")
        if node is None:
            return 1
        number = whole_number(node, 1, MAX_TAKES)
        if number is None:
            mend = f"Write a whole number from 1 to {MAX_TAKES:,}."
            self._report(node, "takes", node.text, "is not a number of takes", mend)
        return number or 1

    def _scalar(self, name: str) -> Scalar | None:
        """The text of a key that takes one; None where it is absent or null."""
        _, node = self._entries.get(name, (None, None))
        if node is None or is_null(node):
            return None
        if isinstance(node, Scalar):
            return node
        self._report(node, name, None, "must be a single value", "Write one text or number.")
        return None

    def _defaults(self) -> tuple[Pair, ...]:
        _, node = self._entries.get("defaults", (None, None))
        if node is None or is_null(node):
            return ()
        if not isinstance(node, Entries):
            self._report(node, "defaults", None, "must be a mapping", "Write `size: 9:16` below.")
            return ()
        return tuple(pair for pair in node.pairs if self._may_be_default(pair[0]))

    def _may_be_default(self, key: Scalar) -> bool:
        if key.text in _NOT_A_DEFAULT:
            mend = _NOT_A_DEFAULT[key.text]
            self._report(key, key.text, None, "cannot be a default", mend)
            return False
        if key.text not in field_names():
            meant = suggestion(key.text, field_names())
            mend = f"Did you mean {meant}?" if meant else f"Known: {', '.join(field_names())}."
            self._report(key, key.text, None, "is not a known field", mend)
            return False
        return True

    def _listed(self, name: str) -> tuple[Node, ...]:
        _, node = self._entries.get(name, (None, None))
        if node is None or is_null(node):
            return ()
        if not isinstance(node, Items):
            mend = "Begin each row with a dash and a space."
            self._report(node, name, None, "must be a list", mend)
            return ()
        return node.nodes

    def _axes(self, takes: int, *, table: bool) -> tuple[Axis, ...]:
        found: dict[str, tuple[Scalar, Axis]] = {}
        names = axis_names()
        before = len(self._problems)
        for key, node in self._root.pairs:
            name = names.get(key.text)
            if name is None or is_null(node):
                continue
            if name in found:
                message = f"is given twice: {found[name][0].text} is the same list"
                self._report(key, key.text, None, message, "Leave one of the two out.")
            else:
                found[name] = key, Axis(name, self._axis_values(key, node, name))
        if not table:
            self._refuse_nothing_to_multiply(found)
        axes = tuple(found[name][1] for name in field_names() if name in found)
        rows = prod(len(axis.nodes) for axis in axes) * takes
        if rows > MAX_PRODUCT:
            key = found[axes[0].name][0]
            message = f"the lists multiply to {rows:,} rows, more than {MAX_PRODUCT:,}"
            self._report(key, key.text, None, message, "Shorten one of the lists.")
        return axes if len(self._problems) == before else ()

    def _axis_values(self, key: Scalar, node: Node, name: str) -> Sequence[Node]:
        """A list's values; a single value is a list of one, unless it looks meant for items."""
        if isinstance(node, Items):
            if not node.nodes:
                self._report(key, key.text, None, "is an empty list", "Fill it or leave it out.")
            return node.nodes
        if name == "seed" and isinstance(node, Entries):
            return MoreKeys(self._entries, self._report).seeds(node)
        if key.text == name and "items" in self._entries:
            mend = f"Write it under defaults, or as a list: {name}s."
            self._report(key, key.text, None, "would not apply to items", mend)
        return (node,)

    def _refuse_nothing_to_multiply(self, found: dict[str, tuple[Scalar, Axis]]) -> None:
        if found and "prompt" not in found:
            key, _ = next(iter(found.values()))
            mend = "Write a list of prompts, or put the value under defaults."
            self._report(key, key.text, None, "multiplies nothing: there are no prompts", mend)

    def _report(self, at: Node, name: str, value: str | None, message: str, mend: str) -> None:
        short = None if value is None else shown(value)
        self._problems.append(
            Problem(self._file, at.line, at.column, shown(name), short, message, mend)
        )
