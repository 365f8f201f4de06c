"""Accounts beside the default one: `MINDVIDEO_API_KEY_<NAME>` and the limits of that name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource

from orchestrator.domain.account import DEFAULT, KEY_VARIABLE, account_name, key_variable
from orchestrator.domain.in_flight import InFlight
from orchestrator.errors import ConfigError

ANY_NAME = f"{KEY_VARIABLE}_<NAME>"
"""Stands for all of them; no shell can set a variable that is called so."""
_LIMITS = {
    "requests_per_second": "ORCHESTRATOR_REQUESTS_PER_SECOND",
    "max_in_flight": "ORCHESTRATOR_MAX_IN_FLIGHT",
}


def read_secret(name: str, path: str) -> str:
    """What the file holds that `NAME_FILE` names. Raises ConfigError."""
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{name}_FILE points to {path}, which cannot be read: {error}",
            mend=f"Point {name}_FILE at a readable file, or set {name} instead.",
        ) from None


def _header_safe(value: SecretStr) -> SecretStr | None:
    text = value.get_secret_value().strip()
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("it has characters that no key has; copy it again")
    return SecretStr(text) if text else None


def _in_flight(value: object) -> object:
    """`100`, `kling-v2-6=20`, or both with a comma; other types pass through to pydantic."""
    if not isinstance(value, int | str):
        return value
    most: int | None = None
    by_model: dict[str, int] = {}
    for part in str(value).split(","):
        model, given, number = part.strip().rpartition("=")
        number, model = number.strip(), model.strip()
        if not (number.isascii() and number.isdecimal() and 1 <= int(number[:10]) < 10**9):
            raise ValueError(
                "it must be a number from 1, or model=number, or both: 100,kling-v2-6=20"
            )
        if given:
            # Imported here: only who limits a model pays for it.
            from orchestrator.domain.models import get_model

            by_model[get_model(model).slug] = int(number)
        else:
            most = int(number)
    return InFlight(most, by_model)


ApiKey = Annotated[SecretStr, AfterValidator(_header_safe)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
MaxInFlight = Annotated[InFlight, NoDecode, BeforeValidator(_in_flight)]


class NamedAccount(BaseModel):
    """A key with the limits that are its own; those that are None are the ones without a name."""

    model_config = {"frozen": True, "extra": "forbid"}

    api_key: ApiKey
    requests_per_second: Rate | None = None
    max_in_flight: MaxInFlight | None = None

    def environment(self, name: str) -> dict[str, object]:
        """As variables; None is not set."""
        values: dict[str, object] = {key_variable(name): self.api_key}
        for field in _LIMITS:
            values[variable_of_field(name, field)] = getattr(self, field)
        return values


def variable_of_field(name: str, field: str) -> str:
    """The variable that gives an account this."""
    return f"{_LIMITS[field]}_{name.upper()}" if field in _LIMITS else key_variable(name)


def variables_of(name: str) -> list[str]:
    """All variables of an account."""
    return [variable_of_field(name, field) for field in ("api_key", *_LIMITS)]


class NamedAccounts(PydanticBaseSettingsSource):
    """Finds them among variables: lower-case names to values, the layer that counts first first."""

    def __init__(
        self, settings_cls: type[BaseSettings], layers: Sequence[Mapping[str, str | None]]
    ) -> None:
        super().__init__(settings_cls)
        self._layers = layers

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        found: dict[str, dict[str, object]] = {}
        for layer in reversed(self._layers):
            for name, key in _keys(layer):
                found.setdefault(name, {})["api_key"] = key
        for name, values in found.items():
            for field in _LIMITS:
                variable = variable_of_field(name, field).lower()
                told = [layer[variable] for layer in self._layers if layer.get(variable)]
                if told:
                    values[field] = told[0]
        return {ANY_NAME: found} if found else {}


def _keys(layer: Mapping[str, str | None]) -> Iterable[tuple[str, str]]:
    """(account, key) of a layer; a key given as a file counts only where it is not given itself."""
    prefix = f"{KEY_VARIABLE}_".lower()
    for variable, value in layer.items():
        suffix = variable.removeprefix(prefix)
        if suffix in (variable, "file") or not value:
            continue
        name = account_name(suffix.removesuffix("_file"))
        if name is None or name == DEFAULT:
            raise ConfigError(
                f"{variable.upper()} names no account that could be called so",
                mend=f"Use letters, digits and single _ after {KEY_VARIABLE}_; the account "
                f"{DEFAULT} is {KEY_VARIABLE} itself.",
            )
        key = value.strip()
        if suffix.endswith("_file"):
            given = layer.get(key_variable(name).lower())
            key = "" if given else read_secret(key_variable(name), value)
        if key:
            yield name, key


def orphans(variables: Iterable[str], names: Sequence[str]) -> dict[str, str]:
    """Variable -> sentence: limits of accounts that have no key."""
    from orchestrator.domain.models import suggestion

    told = {}
    for variable in variables:
        for limit in _LIMITS.values():
            name = account_name(variable.upper().removeprefix(f"{limit}_"))
            if not variable.upper().startswith(f"{limit}_") or name is None or name in names:
                continue
            if name == DEFAULT:
                told[variable] = f"{variable} is not a setting: did you mean {limit}?"
                continue
            meant = suggestion(name, names)
            mend = (
                f"did you mean {limit}_{meant.upper()}?" if meant else f"set {key_variable(name)}"
            )
            told[variable] = f"{variable} limits the account {name}, which has no key: {mend}"
    return told


def missing_key(name: str, names: Sequence[str]) -> ConfigError:
    """What to say where an account's key is needed and not there; `names` are those that are."""
    variable = key_variable(name)
    if name == DEFAULT and not names:
        message = "no API key is set, so nothing can be sent"
    else:
        message = f"the account {name} has no API key here, so nothing can be sent with it"
    return ConfigError(
        message,
        mend=f"Set {variable} (or {variable}_FILE), or put it into .env here"
        f"{_instead(name, names)}.",
        code="no_api_key",
    )


def _instead(name: str, names: Sequence[str]) -> str:
    """Which accounts there are, the one that was probably meant first."""
    if not names:
        return ""
    from orchestrator.domain.models import suggestion

    meant = suggestion(name, names)
    if meant:
        return f"; perhaps the account {meant} is meant"
    return f"; the accounts that have one are {', '.join(names)}"
