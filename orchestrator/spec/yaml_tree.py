"""A YAML document as a small tree in which everything knows its place. YAML 1.2's core schema.

Only what a spec needs: one document, text keys, the tags `!!str` and none. Aliases share nodes; a
limit on the expanded size keeps a small file from standing for a huge one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

import yaml
from yaml import events as ev

from orchestrator.domain.identity import MAX_DIGITS, Json
from orchestrator.domain.models import shown
from orchestrator.errors import Problem, SpecError
from orchestrator.spec.files import Source, opened

MAX_NODES = 5_000_000
"""Scalars and collections after all aliases are expanded."""
MAX_DEPTH = 40

# libyaml where PyYAML was built with it: the events are the same, in a thirtieth of the time.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_LOOK = "Look at the line named."
_MENDS = {
    "found invalid Unicode character escape code": (
        "Write the character itself, or one escape of eight digits, such as \\U0001F600: "
        "YAML knows no pairs of \\u."
    )
}
_STR = {"tag:yaml.org,2002:str", "!"}
_INT = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]{1,3})?")
_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


class Scalar(NamedTuple):  # of which a file has a hundred thousand: made in half the time
    """`text` as written, after quotes and folding; `plain` if nothing says that it is text."""

    text: str
    plain: bool
    line: int
    column: int
    size: int = 1

    @property
    def value(self) -> str | int | bool | Decimal | None:
        """What the core schema makes of it; numbers exact, everything unclear is text."""
        if not self.plain:
            return self.text
        if self.text in _WORDS:
            return _WORDS[self.text]
        if _INT.fullmatch(self.text) and len(self.text) <= MAX_DIGITS:
            return int(self.text)
        return Decimal(self.text) if _FLOAT.fullmatch(self.text) else self.text


@dataclass(frozen=True, slots=True)
class Items:
    """A sequence."""

    nodes: tuple[Node, ...]
    line: int
    column: int
    size: int


@dataclass(frozen=True, slots=True)
class Entries:
    """A mapping in the order written; a key that came twice is here once, and in the problems."""

    pairs: tuple[tuple[Scalar, Node], ...]
    line: int
    column: int
    size: int


Node = Scalar | Items | Entries


def is_null(node: Node) -> bool:
    """Whether nothing is written here: empty, `~` or null."""
    return isinstance(node, Scalar) and node.plain and _WORDS.get(node.text, ...) is None


def as_json(node: Node) -> Json:
    """The node's value by the core schema."""
    match node:
        case Scalar():
            return node.value
        case Items(nodes):
            return [as_json(entry) for entry in nodes]
        case Entries(pairs):
            return {key.text: as_json(value) for key, value in pairs}


# The parser takes these for line breaks, as YAML 1.1 did; since 1.2 they are letters like others.
# Where there are any, it is shown characters in their place that no text may be exchanged with.
_HIDDEN = dict(zip((0x85, 0x2028, 0x2029), (0xFDD0, 0xFDD1, 0xFDD2), strict=True))
_SHOWN = {hidden: shown for shown, hidden in _HIDDEN.items()}
_BREAKS = re.compile("[\x85\u2028\u2029]")
_NONCHARACTERS = re.compile("[\ufdd0-\ufdd2]")


def read_tree(source: Source) -> tuple[Node, tuple[Problem, ...]]:
    """The document, and keys that came twice. Raises SpecError for anything else."""
    with opened(source) as file:
        text = file.read()
    if found := _NONCHARACTERS.search(text):
        line = text.count("\n", 0, found.start()) + 1
        column = found.start() - text.rfind("\n", 0, found.start())
        message = f"has U+{ord(found[0]):04X}, which is no character"
        raise _refused(source, line, column, message, "Remove it.")
    hides = _BREAKS.search(text) is not None
    text = text.translate(_HIDDEN) if hides else text
    try:
        return _Builder(source, yaml.parse(text, Loader=_LOADER), hides=hides).document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        mend = _MENDS.get(str(error.problem), _LOOK)
        raise _refused(source, line, column, f"is not YAML: {error.problem}", mend) from None
    except yaml.YAMLError as error:
        reason = str(error).splitlines()[0]
        raise _refused(source, 1, 1, f"is not YAML: {reason}") from None


class _Builder:
    def __init__(self, source: Source, events: Iterator[Any], *, hides: bool) -> None:
        self._source = source
        self._events = events
        self._hides = hides
        self._anchors: dict[str, Node] = {}
        self._problems: list[Problem] = []

    def document(self) -> tuple[Node, tuple[Problem, ...]]:
        for event in self._events:
            if isinstance(event, ev.DocumentStartEvent):
                root = self._node(next(self._events), MAX_DEPTH)
                self._refuse_second_document()
                return root, tuple(self._problems)
        raise SpecError(
            f"{self._source} has no content",
            mend="Write `prompts:` and a list below.",
            code="empty",
        )

    def _refuse_second_document(self) -> None:
        for event in self._events:
            if isinstance(event, ev.DocumentStartEvent):
                line, column = _place(event)
                raise _refused(
                    self._source, line, column, "has a second document", "One file is one spec."
                )

    def _node(self, event: Any, depth: int) -> Node:
        if isinstance(event, ev.AliasEvent):
            return self._alias(event)
        if depth <= 0:
            message = f"nests deeper than {MAX_DEPTH} levels"
            raise _refused(self._source, *_place(event), message)
        node: Node
        if isinstance(event, ev.ScalarEvent):
            text = event.value.translate(_SHOWN) if self._hides else event.value
            plain = event.tag is None and not event.style
            if event.tag not in _STR:
                self._refuse_tag(event)
            mark = event.start_mark
            node = Scalar(text, plain, mark.line + 1, mark.column + 1)
        elif isinstance(event, ev.SequenceStartEvent):
            self._refuse_tag(event)
            node = self._items(event, depth)
        else:
            self._refuse_tag(event)
            node = self._entries(event, depth)
        if event.anchor:
            self._anchors[event.anchor] = node
        return node

    def _alias(self, event: Any) -> Node:
        node = self._anchors.get(event.anchor)
        if node is None:
            message = f"has the alias *{event.anchor}, which stands for nothing yet"
            raise _refused(self._source, *_place(event), message, "Put its & before it.")
        return node

    def _items(self, start: Any, depth: int) -> Items:
        nodes: list[Node] = []
        size = 1
        for event in self._events:
            if isinstance(event, ev.SequenceEndEvent):
                break
            node = self._node(event, depth - 1)
            size = self._grown(size, node, start)
            nodes.append(node)
        return Items(tuple(nodes), *_place(start), size)

    def _entries(self, start: Any, depth: int) -> Entries:
        pairs: dict[str, tuple[Scalar, Node]] = {}
        size = 1
        for event in self._events:
            if isinstance(event, ev.MappingEndEvent):
                break
            key = self._node(event, depth - 1)
            if not isinstance(key, Scalar):
                raise _refused(self._source, *_place(event), "has a key that is not text")
            value = self._node(next(self._events), depth - 1)
            size = self._grown(size, value, start) + 1
            if key.text in pairs:
                self._problems.append(self._twice(key, pairs[key.text][0]))
            else:
                pairs[key.text] = (key, value)
        return Entries(tuple(pairs.values()), *_place(start), size)

    def _grown(self, size: int, node: Node, start: Any) -> int:
        size += node.size
        if size > MAX_NODES:
            message = f"has more than {MAX_NODES:,} values once its aliases are expanded"
            raise _refused(self._source, *_place(start), message, "Split it, or write a CSV.")
        return size

    def _twice(self, key: Scalar, first: Scalar) -> Problem:
        message = f"is there twice, first in line {first.line}"
        mend = "Leave one of the two out."
        name = shown(key.text)
        return Problem(str(self._source), key.line, key.column, name, None, message, mend)

    def _refuse_tag(self, event: Any) -> None:
        if event.tag is not None:
            raise _refused(
                self._source, *_place(event), f"has the tag {event.tag}", "Leave the tag out."
            )


def _place(event: Any) -> tuple[int, int]:
    mark = event.start_mark
    return mark.line + 1, mark.column + 1


def _refused(source: Source, line: int, column: int, message: str, mend: str = _LOOK) -> SpecError:
    problem = Problem(str(source), line, column, None, None, message, mend)
    return SpecError(f"{source}:{line}:{column} {message}", mend=mend, problems=[problem])
