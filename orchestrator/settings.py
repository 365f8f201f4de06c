"""Every setting, read once from the environment or `.env`, validated, frozen."""

from __future__ import annotations

import base64
import binascii
import getpass
import hashlib
import ipaddress
import json
import os
import re
import socket
from collections.abc import Iterator, Mapping
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, BeforeValidator, Field, SecretStr, ValidationError, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from orchestrator import env_file, places
from orchestrator.account_settings import (
    ANY_NAME,
    ApiKey,
    MaxInFlight,
    NamedAccount,
    NamedAccounts,
    Rate,
    missing_key,
    orphans,
    read_secret,
    variable_of_field,
    variables_of,
)
from orchestrator.domain.account import DEFAULT, Account, Accounts, fingerprint
from orchestrator.domain.durations import to_ms
from orchestrator.domain.in_flight import NO_LIMIT
from orchestrator.errors import ConfigError

ENV_FILE = ".env"
DEFAULT_BASE_URL = "https://api.mindvideo.ai/api/v1"
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def parse_duration(value: object) -> object:
    """`90s`, `15m`, `24h`, `7d` to a timedelta; other types pass through to pydantic."""
    if not isinstance(value, str):
        return value
    return timedelta(milliseconds=to_ms(value))


Duration = Annotated[timedelta, BeforeValidator(parse_duration)]


class _SecretFiles(EnvSettingsSource):
    """`NAME_FILE` names a file that holds the value of `NAME`, for secrets mounted as files."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        name = str(field.validation_alias)
        path = self.env_vars.get(f"{name}_FILE".lower())
        return (read_secret(name, path), name, False) if path else (None, field_name, False)


class _SecretFilesOfDotenv(_SecretFiles, DotEnvSettingsSource):
    """The same for a `NAME_FILE` that stands in `.env`."""


class Settings(BaseSettings):
    """The installation's settings; docs/settings.md lists them with their meaning."""

    model_config = SettingsConfigDict(
        env_file=ENV_FILE,
        env_file_encoding="utf-8",
        extra="ignore",
        frozen=True,
        env_ignore_empty=True,
    )

    api_key: ApiKey | None = Field(None, validation_alias="MINDVIDEO_API_KEY")
    named: dict[str, NamedAccount] = Field(default_factory=dict, validation_alias=ANY_NAME)
    base_url: str = Field(DEFAULT_BASE_URL, validation_alias="MINDVIDEO_BASE_URL")
    allow_plain_http: bool = Field(False, validation_alias="ORCHESTRATOR_ALLOW_PLAIN_HTTP")
    database_url_setting: SecretStr | None = Field(
        None, validation_alias="ORCHESTRATOR_DATABASE_URL"
    )
    database_connections: int = Field(
        5, validation_alias="ORCHESTRATOR_DATABASE_CONNECTIONS", ge=2, le=100
    )
    broker_url_setting: SecretStr | None = Field(None, validation_alias="ORCHESTRATOR_BROKER_URL")
    data_dir_setting: Path | None = Field(None, validation_alias="ORCHESTRATOR_DATA_DIR")
    journal_dir_setting: Path | None = Field(None, validation_alias="ORCHESTRATOR_JOURNAL_DIR")
    namespace: str = Field("", validation_alias="ORCHESTRATOR_NAMESPACE", max_length=100)
    key_retention: Duration = Field(
        timedelta(hours=24), validation_alias="ORCHESTRATOR_KEY_RETENTION", gt=timedelta()
    )
    task_deadline: Duration = Field(
        timedelta(hours=6), validation_alias="ORCHESTRATOR_TASK_DEADLINE", gt=timedelta()
    )
    request_timeout: Duration = Field(
        timedelta(seconds=60), validation_alias="ORCHESTRATOR_REQUEST_TIMEOUT", gt=timedelta()
    )
    rejoin_grace: Duration = Field(
        timedelta(seconds=30), validation_alias="ORCHESTRATOR_REJOIN_GRACE", ge=timedelta()
    )
    max_in_flight: MaxInFlight = Field(NO_LIMIT, validation_alias="ORCHESTRATOR_MAX_IN_FLIGHT")
    requests_per_second: Rate | None = Field(
        50, validation_alias="ORCHESTRATOR_REQUESTS_PER_SECOND"
    )
    worker_processes: int = Field(2, validation_alias="ORCHESTRATOR_WORKER_PROCESSES", ge=1, le=64)
    flower_port: int = Field(5555, validation_alias="ORCHESTRATOR_FLOWER_PORT", ge=0, le=65535)
    flower_basic_auth: SecretStr | None = Field(None, validation_alias="FLOWER_BASIC_AUTH")
    prompt_excerpt: int = Field(0, validation_alias="ORCHESTRATOR_PROMPT_EXCERPT", ge=0, le=80)
    webhook_url: str | None = Field(None, validation_alias="ORCHESTRATOR_WEBHOOK_URL")
    webhook_secret: SecretStr | None = Field(None, validation_alias="ORCHESTRATOR_WEBHOOK_SECRET")
    webhook_allow_private: bool = Field(
        False, validation_alias="ORCHESTRATOR_WEBHOOK_ALLOW_PRIVATE"
    )
    downloads: int = Field(4, validation_alias="ORCHESTRATOR_DOWNLOADS", ge=1, le=64)
    download_allow_private: bool = Field(
        False, validation_alias="ORCHESTRATOR_DOWNLOAD_ALLOW_PRIVATE"
    )
    notify_command: str | None = Field(None, validation_alias="ORCHESTRATOR_NOTIFY_COMMAND")
    price_file: Path | None = Field(None, validation_alias="ORCHESTRATOR_PRICES")
    actor_setting: str | None = Field(None, validation_alias="ORCHESTRATOR_ACTOR", max_length=200)
    otlp_endpoint: str | None = Field(None, validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT")
    otlp_headers: SecretStr | None = Field(None, validation_alias="OTEL_EXPORTER_OTLP_HEADERS")
    log_format: Literal["text", "json"] = Field("text", validation_alias="ORCHESTRATOR_LOG_FORMAT")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", validation_alias="ORCHESTRATOR_LOG_LEVEL"
    )

    @field_validator("base_url")
    @classmethod
    def _http_url(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("it must be an http(s) URL such as " + DEFAULT_BASE_URL)
        if parts.username or parts.query or parts.fragment:
            raise ValueError("it must not carry credentials, a query or a fragment")
        return value.rstrip("/")

    @field_validator("price_file")
    @classmethod
    def _from_anywhere(cls, value: Path | None) -> Path | None:
        return None if value is None else value.absolute()

    @field_validator("flower_basic_auth")
    @classmethod
    def _user_and_password(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not re.fullmatch(r"[^:,]+:[^,]+", value.get_secret_value()):
            raise ValueError("it must read user:password")
        return value

    @field_validator("log_format", "log_level", mode="before")
    @classmethod
    def _in_any_case(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 pydantic names it
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then the environment with the files named there, then `.env` likewise."""
        files = _SecretFiles(settings_cls), _SecretFilesOfDotenv(settings_cls)
        named = NamedAccounts(settings_cls, [files[0].env_vars, files[1].env_vars])
        return init_settings, env_settings, files[0], dotenv_settings, files[1], named

    @cached_property
    def data_dir(self) -> Path:
        """The folder of the embedded database; it may not exist yet."""
        return places.find_data_dir(self.data_dir_setting, Path.cwd())

    @property
    def presence_dir(self) -> Path:
        """Where this machine's worker processes hold their locks."""
        return self.data_dir / "processes"

    @property
    def beats_dir(self) -> Path:
        """Where this machine's beats hold theirs."""
        return self.data_dir / "beats"

    @cached_property
    def installation(self) -> str:
        """The data directory's own id; journals and sockets are named by it."""
        return places.installation_id(self.data_dir)

    @cached_property
    def database_url(self) -> str:
        if self.database_url_setting is not None:
            return self.database_url_setting.get_secret_value()
        return f"sqlite:///{self.data_dir / 'orchestrator.db'}"

    @property
    def embedded_broker(self) -> bool:
        return self.broker_url_setting is None

    @cached_property
    def broker_socket(self) -> Path:
        return places.runtime_dir(self.installation) / "broker.sock"

    @cached_property
    def broker_url(self) -> str:
        """In kombu's spelling; the embedded broker listens on a socket of the runtime directory."""
        if self.broker_url_setting is not None:
            return self.broker_url_setting.get_secret_value()
        return f"redis+socket://{self.broker_socket}?virtual_host=0"

    @property
    def redis_url(self) -> str:
        """The broker's URL in the Redis client's spelling. Raises ConfigError for Sentinel."""
        url = self.broker_url
        if url.startswith("redis+socket://"):
            path, _, query = url.removeprefix("redis+socket://").partition("?")
            options = dict(part.partition("=")[::2] for part in query.split("&") if part)
            return f"unix://{path}?db={options.get('virtual_host', '0').strip('/') or '0'}"
        if url.startswith("sentinel"):
            raise ConfigError(
                "the rate limiter cannot use a sentinel:// broker yet",
                mend="Give ORCHESTRATOR_BROKER_URL the address of the Redis server itself.",
            )
        return url

    @cached_property
    def journal_dir(self) -> Path:
        return self.journal_dir_setting or places.default_journal_dir(self.installation)

    @cached_property
    def actor(self) -> str:
        """Who does what is done: for the history."""
        if self.actor_setting:
            return self.actor_setting
        try:
            user = getpass.getuser()
        except (OSError, KeyError):
            user = str(os.getuid())
        return f"{user}@{socket.gethostname()}"

    @cached_property
    def accounts(self) -> Accounts:
        """Every account whose key is configured, by the order of their names, `default` first."""
        usual = self.requests_per_second, self.max_in_flight
        every = []
        if self.api_key is not None:
            key = self.api_key.get_secret_value()
            every.append(Account(DEFAULT, fingerprint(key), *usual))
        for name, told in sorted(self.named.items()):
            every.append(
                Account(
                    name,
                    fingerprint(told.api_key.get_secret_value()),
                    told.requests_per_second or usual[0],
                    usual[1] if told.max_in_flight is None else told.max_in_flight,
                )
            )
        return Accounts(tuple(every))

    def key_of(self, account: Account) -> str:
        """The API key of one of these accounts."""
        found = self.api_key if account.name == DEFAULT else self.named[account.name].api_key
        return "" if found is None else found.get_secret_value()

    def require_account(self, name: str) -> Account:
        """The account of this name, or ConfigError where its key is not set."""
        found = self.accounts.named(name)
        if found is None:
            raise missing_key(name, [one.name for one in self.accounts])
        return found

    def require_any_account(self) -> None:
        """Raises ConfigError where there is no API key at all."""
        if not self.accounts:
            raise missing_key(DEFAULT, [])

    def secrets(self) -> list[str]:
        """Every value that must never be written down: secrets, and the passwords of URLs."""
        found = []
        for name in type(self).model_fields:
            for value in _secrets_in(getattr(self, name)):
                found.append(value)
                if "://" in value:
                    found.append(urlsplit(value).password or "")
                elif name == "otlp_headers":
                    found += self.trace_headers().values()
                elif name == "flower_basic_auth":
                    found.append(value.partition(":")[2])
        return [value for value in found if value]

    def trace_headers(self) -> dict[str, str]:
        """What a collector of traces is told with each request: `name=value,…`."""
        told = self.otlp_headers.get_secret_value() if self.otlp_headers else ""
        pairs = (pair.partition("=") for pair in told.split(",") if "=" in pair)
        return {name.strip().lower(): unquote(value.strip()) for name, _, value in pairs}

    def environment(self) -> dict[str, str]:
        """These settings as environment variables, for processes started elsewhere."""
        values = {
            str(field.validation_alias): getattr(self, name)
            for name, field in type(self).model_fields.items()
            if field.validation_alias != ANY_NAME
        }
        for name, told in self.named.items():
            values |= told.environment(name)
        values["ORCHESTRATOR_DATA_DIR"] = self.data_dir
        values["ORCHESTRATOR_ACTOR"] = self.actor
        texts = {name: _as_text(value) for name, value in values.items() if value is not None}
        return {name: text for name, text in texts.items() if text}

    def digest(self) -> str:
        """Tells two sets of settings apart without giving any of them away."""
        settings = self.environment()
        for name in ("ORCHESTRATOR_ACTOR", "ORCHESTRATOR_LOG_FORMAT", "ORCHESTRATOR_LOG_LEVEL"):
            settings.pop(name, None)
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()

    def strangers(self) -> list[str]:
        """Sentences about variables that look like settings and are none."""
        known = [str(field.validation_alias) for field in type(self).model_fields.values()]
        known += [variable for name in self.named for variable in variables_of(name)]
        found = [*os.environ, *env_file.names_in(Path(ENV_FILE))]
        lost = orphans(found, list(self.named))
        rest = [name for name in found if name not in lost]
        return [*lost.values(), *env_file.strangers(rest, known)]

    def check(self) -> None:
        """Refuse what is settable but unsafe. Raises ConfigError."""
        self._check_accounts()
        parts = urlsplit(self.base_url)
        if parts.scheme == "http" and parts.hostname not in LOOPBACK and not self.allow_plain_http:
            raise ConfigError(
                f"MINDVIDEO_BASE_URL is plain http to {parts.hostname}: the API key would travel "
                "readable",
                mend="Use https, or set ORCHESTRATOR_ALLOW_PLAIN_HTTP=1 for a network you trust.",
            )
        _check_url(
            self.database_url_setting,
            "ORCHESTRATOR_DATABASE_URL",
            ("sqlite", "postgresql", "postgresql+psycopg"),
            "postgresql+psycopg://user:password@host/database",
        )
        _check_url(
            self.broker_url_setting,
            "ORCHESTRATOR_BROKER_URL",
            ("redis", "rediss", "redis+socket", "sentinel"),
            "redis://host:6379/0",
        )
        if self.otlp_endpoint is not None:
            parts = urlsplit(self.otlp_endpoint)
            if parts.scheme not in {"http", "https"} or not parts.hostname:
                raise ConfigError(
                    "OTEL_EXPORTER_OTLP_ENDPOINT is no http(s) URL",
                    mend="Write it like http://collector:4318, or unset it.",
                )
        self._check_webhook()
        if self.journal_dir_setting and self.data_dir in (
            self.journal_dir_setting.resolve(),
            *self.journal_dir_setting.resolve().parents,
        ):
            raise ConfigError(
                f"ORCHESTRATOR_JOURNAL_DIR lies inside the data directory {self.data_dir}: both "
                "would be lost together",
                mend="Put the journal on another place, best another disk.",
            )

    def _check_accounts(self) -> None:
        """Two names of one key would be two limits of one account."""
        seen: dict[str, Account] = {}
        for account in self.accounts:
            other = seen.setdefault(account.id, account)
            if other is not account:
                raise ConfigError(
                    f"{other.variable} and {account.variable} hold the same key, so its limits "
                    "would count twice",
                    mend="Give each account a key of its own, or leave one of the names out.",
                )

    def _check_webhook(self) -> None:
        if self.webhook_url is None:
            return
        parts = urlsplit(self.webhook_url)
        name = "ORCHESTRATOR_WEBHOOK_URL"
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ConfigError(f"{name} is no URL", mend=f"Write {name} like https://host/path.")
        if not self.webhook_allow_private and (parts.scheme != "https" or _inside(parts.hostname)):
            raise ConfigError(
                f"{name} is not https, or leads to a private address",
                mend="Use a public https address, or set ORCHESTRATOR_WEBHOOK_ALLOW_PRIVATE=1 for "
                "one you trust.",
            )
        secret = self.webhook_secret.get_secret_value() if self.webhook_secret else ""
        try:
            raw = base64.b64decode(secret.removeprefix("whsec_") + "==")
        except binascii.Error:
            raw = b""
        if not raw:
            raise ConfigError(
                "ORCHESTRATOR_WEBHOOK_SECRET is missing or not base64, so events cannot be signed",
                mend="Make one: whsec_$(openssl rand -base64 24)",
            )


def _inside(host: str) -> bool:
    """Whether a host names an address that is not public, as far as its spelling tells."""
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return host == "localhost" or host.endswith((".localhost", ".local", ".internal"))


def _check_url(value: SecretStr | None, name: str, schemes: tuple[str, ...], example: str) -> None:
    if value is None:
        return
    mend = f"Write {name} like {example}."
    try:
        parts = urlsplit(value.get_secret_value())
        # libpq takes several hosts: host1:5432,host2:5432
        for place in parts.netloc.rpartition("@")[2].split(","):
            _ = urlsplit(f"//{place}").port
    except ValueError as error:
        raise ConfigError(f"{name} does not parse: {error}", mend=mend) from None
    if parts.scheme not in schemes:
        known = ", ".join(schemes)
        raise ConfigError(f"{name} has the scheme {parts.scheme!r}; known are {known}", mend=mend)
    if not (parts.hostname or parts.path.strip("/")):
        raise ConfigError(f"{name} names no host or path", mend=mend)


def _secrets_in(value: object) -> Iterator[str]:
    """The secrets in a setting's value, however they are kept there."""
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, Mapping | BaseModel):
        for one in dict(value).values():
            yield from _secrets_in(one)
    elif isinstance(value, list | tuple | set | frozenset):
        for one in value:
            yield from _secrets_in(one)


def _as_text(value: object) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, timedelta):
        return f"{value.total_seconds():f}s"
    return str(value)


def _variable(place: tuple[int | str, ...]) -> str:
    """The variable that a fault is in."""
    if place and place[0] == ANY_NAME:
        _, name, field = (*place, "", "api_key")[:3]
        return variable_of_field(str(name), str(field))
    return str(place[0]) if place else "a setting"


def load_settings(**overrides: object) -> Settings:
    """Read and validate every setting. Raises ConfigError naming the variable and the mend."""
    env_file.names_in(Path(ENV_FILE))
    try:
        settings = Settings(**overrides)  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        name = _variable(first["loc"])
        reason = first["msg"].removeprefix("Value error, ")
        raise ConfigError(
            f"{name} is not valid: {reason}",
            mend=f"Mend {name} in the environment or in .env; docs/settings.md lists them.",
        ) from None
    settings.check()
    return settings
