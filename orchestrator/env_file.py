"""What a person wrote into the environment and `.env` that no setting reads."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from orchestrator.errors import ConfigError

PREFIXES = ("MINDVIDEO_", "ORCHESTRATOR_")


def names_in(path: Path) -> list[str]:
    """The variables that an env file sets; none where there is no file.

    Raises ConfigError with the place of a line that is no assignment.
    """
    from dotenv.parser import parse_stream

    try:
        with path.open(encoding="utf-8") as stream:
            bindings = list(parse_stream(stream))
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path} cannot be read: {error}", mend="Make it a readable UTF-8 file, or remove it."
        ) from None
    for binding in bindings:
        if binding.error:
            raise ConfigError(
                f"{path}:{binding.original.line} is not an assignment",
                mend="Write NAME=value, with quotes around a value that has spaces or #.",
            )
    return [binding.key for binding in bindings if binding.key is not None]


def strangers(names: Iterable[str], known: Iterable[str]) -> list[str]:
    """A sentence for each name that looks like a setting and is none, with the nearest one."""
    from rapidfuzz import process

    settings = {variant for name in known for variant in (name, f"{name}_FILE")}
    found = sorted({n for n in names if n.upper().startswith(PREFIXES)} - settings)
    told = []
    for name in (one for one in found if one.upper() not in settings):
        near = process.extractOne(name.upper(), settings, score_cutoff=75)
        mend = f"did you mean {near[0]}?" if near else "docs/settings.md lists those there are"
        told.append(f"{name} is not a setting: {mend}")
    return told
