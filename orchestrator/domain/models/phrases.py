"""Pydantic's verdicts in a person's words: what is wrong, and the mend."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from orchestrator.domain.models.suggestion import suggestion
from orchestrator.domain.models.values import RefusedError

Words = tuple[str, str]


def phrase(  # noqa: PLR0911 one return for each verdict
    kind: str, context: Mapping[str, object], choices: tuple[str | int, ...], value: object
) -> Words:
    """(message, mend) of one of pydantic's error types; an unforeseen one is named as it is."""
    match kind:
        case "value_error" if isinstance(refused := context["error"], RefusedError):
            return refused.message, refused.mend
        case "missing":
            return "is missing", "Fill it in."
        case "string_too_short":
            return "is empty", "Fill it in."
        case "string_too_long":
            return _too_long(context, value)
        case "too_long":
            return f"takes at most {context['max_length']}", "Leave the others out."
        case "literal_error" | "int_parsing_size" if choices:
            return _choice(choices, str(value))
        case "greater_than_equal":
            return f"must be at least {context['ge']}", "Raise it."
        case "less_than_equal":
            return f"must be at most {context['le']}", "Lower it."
        case _:
            return _wrong_type(kind)


def _wrong_type(kind: str) -> Words:
    return {
        "bool_type": ("must be true or false", "Write true or false."),
        "is_instance_of": ("must be a number", "Write a number such as 0.5."),
        "decimal_type": ("must be a number", "Write a number such as 0.5."),
        "finite_number": ("must be a finite number", "Write a number such as 0.5."),
        "int_parsing_size": ("is too large a number", "Write a smaller one."),
        "int_type": ("must be a whole number", "Write it in digits only."),
        "list_type": ("must be a list", "Write a list of at most one address."),
        "string_type": ("must be text", "Put it in quotes."),
    }.get(kind, (f"is not valid ({kind})", "Look the field up in the model's documentation."))


def _too_long(context: Mapping[str, object], value: object) -> Words:
    most = context["max_length"]
    assert isinstance(most, int)  # noqa: S101 narrows for the type checker
    # As pydantic counted it: after line ends became LF.
    length = len(str(value).replace("\r\n", "\n"))
    over = length - most
    return (
        f"has {length:,} characters, at most {most:,} are allowed",
        f"Shorten it by {over:,} character{'s' if over != 1 else ''}.",
    )


@lru_cache(maxsize=1024)
def _choice(choices: tuple[str | int, ...], written: str) -> Words:
    words = [str(choice) for choice in choices]
    allowed = " or ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else words[0]
    meant = suggestion(written, words)
    return f"must be {allowed}", f"Did you mean {meant}?" if meant else f"Write {allowed}."
