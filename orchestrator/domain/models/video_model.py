"""What a model is to the rest of the program: a slug, a schema, fields, one normal form, prices."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from orchestrator.domain.identity import Json
from orchestrator.domain.models.phrases import phrase
from orchestrator.domain.models.suggestion import suggestion
from orchestrator.domain.models.values import Kind

_SHOWN = 80


class Fault(NamedTuple):
    """One thing wrong with one field of an input; `value` is as given, shortened."""

    field: str
    value: str | None
    message: str
    mend: str


class InputError(ValueError):
    """An input that a model does not take; `faults` has everything wrong with it."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__(faults)
        self.faults = tuple(faults)

    def __str__(self) -> str:
        return "; ".join(f"{fault.field}: {fault.message}" for fault in self.faults)


@dataclass(frozen=True, slots=True)
class InputField:
    """A field as its model's schema declares it; `choices` is empty where any value goes."""

    name: str
    kind: Kind
    choices: tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class NormalInput:
    """A checked input in its one normal form: defaults written out, absent fields absent."""

    model: str
    values: Mapping[str, Json]


@dataclass(frozen=True)
class VideoModel:
    """One model of the provider.

    `contradictions` looks at fields together (absent ones are missing from the mapping or None);
    `fold` brings several spellings of one thing to the one that is sent; `price` names the price
    class of normal values; `synonyms` maps a field to the one it is folded into. The schema's
    fields carry their `Kind` among their metadata and stand in the order of the API document.
    """

    slug: str
    schema: type[BaseModel]
    contradictions: Callable[[Mapping[str, object]], list[Fault]]
    fold: Callable[[dict[str, Json]], dict[str, Json]]
    price: Callable[[Mapping[str, Json]], str]
    synonyms: Mapping[str, str] = field(default_factory=dict)
    fields: tuple[InputField, ...] = field(init=False)
    _choices: Mapping[str, tuple[str | int, ...]] = field(init=False, repr=False)
    _defaults: Mapping[str, object] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        schema = self.schema.model_fields
        described = tuple(_describe(*pair) for pair in schema.items())
        defaults = {n: info.default for n, info in schema.items() if not info.is_required()}
        object.__setattr__(self, "fields", described)
        object.__setattr__(self, "_choices", {known.name: known.choices for known in described})
        object.__setattr__(self, "_defaults", defaults)

    def normalise(self, raw: Mapping[str, object]) -> NormalInput:
        """Check an input and bring it to its normal form; None stands for absent.

        Raises InputError with every fault.
        """
        given = {name: value for name, value in raw.items() if value is not None}
        try:
            checked = self.schema.model_validate(given)
        except ValidationError as error:
            raise InputError(self._faults(given, error)) from None
        present = {name: value for name, value in checked.__dict__.items() if value is not None}
        return NormalInput(self.slug, self.fold(present))

    def price_class(self, normal: NormalInput) -> str:
        """Inputs of one price class cost the same: `kling-v2-6/std/5s/silent`."""
        return f"{self.slug}/{self.price(normal.values)}"

    def _faults(self, given: Mapping[str, object], error: ValidationError) -> list[Fault]:
        faults: dict[str, Fault] = {}
        for entry in error.errors(include_url=False, include_input=False):
            if not entry["loc"]:
                continue
            name = str(entry["loc"][0])
            message, mend = self._phrase(name, entry["type"], entry.get("ctx", {}), given)
            faults.setdefault(name, Fault(name, _given(given, name), message, mend))
        complete = {**self._defaults, **given}
        sound = {name: value for name, value in complete.items() if name not in faults}
        return [*faults.values(), *self.contradictions(sound)]

    def _phrase(
        self, name: str, kind: str, context: Mapping[str, object], given: Mapping[str, object]
    ) -> tuple[str, str]:
        if kind == "extra_forbidden":
            meant = suggestion(name, self._choices)
            mend = (
                f"Did you mean {meant}?" if meant else f"Fields known: {', '.join(self._choices)}."
            )
            return f"is not a field of {self.slug}", mend
        return phrase(kind, context, self._choices.get(name, ()), given.get(name))


def _describe(name: str, info: FieldInfo) -> InputField:
    kind = next(mark for mark in info.metadata if isinstance(mark, Kind))
    is_enum = kind is Kind.CHOICE or info.metadata.count(Kind.CHOICE) > 0
    choices = get_args(info.annotation) if is_enum else ()
    return InputField(name, kind, choices)


def _given(given: Mapping[str, object], name: str) -> str | None:
    return shown(given[name]) if name in given else None


def shown(value: object) -> str:
    """A value as a message shows it: at most 80 characters, printable by any terminal."""
    text = value if isinstance(value, str) else _plain(value)
    if len(text) <= _SHOWN and text.isascii():
        return text
    short = text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
    return short.encode("utf-8", "backslashreplace").decode()


def _plain(value: object) -> str:
    if isinstance(value, list | tuple | dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value).lower() if isinstance(value, bool) else str(value)
