"""Accounts by name, as the environment, files and `.env` give them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.domain.account import Account, fingerprint
from orchestrator.domain.in_flight import InFlight
from orchestrator.errors import ConfigError
from orchestrator.settings import Settings, load_settings

Load = Callable[..., Settings]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Settings from these variables, and from this `.env`."""
    monkeypatch.chdir(tmp_path)

    def make(dotenv: str = "", **variables: str) -> Settings:
        (tmp_path / ".env").write_text(dotenv)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        return load_settings()

    return make


def test_each_account_has_its_own_limits_or_the_usual_ones(load: Load) -> None:
    settings = load(
        MINDVIDEO_API_KEY="key0",
        MINDVIDEO_API_KEY_TEAM_B="key1",
        MINDVIDEO_API_KEY_SLOW="key2",
        ORCHESTRATOR_REQUESTS_PER_SECOND="20",
        ORCHESTRATOR_MAX_IN_FLIGHT="100, kling-v2-6=20",
        ORCHESTRATOR_REQUESTS_PER_SECOND_SLOW="0.5",
        ORCHESTRATOR_MAX_IN_FLIGHT_SLOW="3",
    )
    usual = InFlight(100, {"kling-v2-6": 20})
    assert list(settings.accounts) == [
        Account("default", fingerprint("key0"), 20, usual),
        Account("slow", fingerprint("key2"), 0.5, InFlight(3)),
        Account("team_b", fingerprint("key1"), 20, usual),
    ]
    assert [settings.key_of(one) for one in settings.accounts] == ["key0", "key2", "key1"]
    assert settings.accounts.of(fingerprint("key2")) == settings.accounts.named("slow")
    assert settings.strangers() == []


def test_keys_may_be_files_and_the_environment_counts_before_dotenv(
    load: Load, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        (tmp_path / name).write_text(f"{name}\n")
    dotenv = "MINDVIDEO_API_KEY_FILE=one\nMINDVIDEO_API_KEY_A=old\nMINDVIDEO_API_KEY_B=old\n"
    settings = load(dotenv, MINDVIDEO_API_KEY_A_FILE="two", MINDVIDEO_API_KEY_B="new")
    keys = {one.name: settings.key_of(one) for one in settings.accounts}
    assert keys == {"default": "one", "a": "two", "b": "new"}


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"MINDVIDEO_API_KEY": "k", "MINDVIDEO_API_KEY_X": "k"}, "hold the same key"),
        ({"MINDVIDEO_API_KEY_X": "a b"}, "MINDVIDEO_API_KEY_X is not valid"),
        ({"MINDVIDEO_API_KEY_X_FILE": "none"}, "MINDVIDEO_API_KEY_X_FILE points to none"),
        ({"MINDVIDEO_API_KEY_DEFAULT": "k"}, "MINDVIDEO_API_KEY_DEFAULT names no account"),
        ({"MINDVIDEO_API_KEY__X": "k"}, "MINDVIDEO_API_KEY__X names no account"),
    ],
)
def test_keys_that_cannot_be_used_are_refused(
    load, variables: dict[str, str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as refused:
        load(**variables)
    assert refused.value.mend


@pytest.mark.parametrize(
    ("limit", "value", "message"),
    [
        ("MAX_IN_FLIGHT", "0", "number from 1"),
        ("MAX_IN_FLIGHT", "kling-v2-6", "number from 1"),
        ("MAX_IN_FLIGHT", "5,", "number from 1"),
        ("MAX_IN_FLIGHT", "klink-v2-6=5", "Did you mean kling-v2-6"),
        ("REQUESTS_PER_SECOND", "0", "greater than 0"),
        ("REQUESTS_PER_SECOND", "inf", "finite"),
    ],
)
@pytest.mark.parametrize("name", ["", "_X"])
def test_limits_are_checked_and_the_variable_is_named(
    load: Load, name: str, limit: str, value: str, message: str
) -> None:
    variable = f"ORCHESTRATOR_{limit}{name}"
    with pytest.raises(ConfigError, match=f"{variable} is not valid.*{message}"):
        load(MINDVIDEO_API_KEY_X="k", **{variable: value})


@pytest.mark.parametrize(
    ("variable", "mend"),
    [
        ("ORCHESTRATOR_MAX_IN_FLIGHT_TAEM", "did you mean ORCHESTRATOR_MAX_IN_FLIGHT_TEAM"),
        ("ORCHESTRATOR_MAX_IN_FLIGHT_OTHER", "set MINDVIDEO_API_KEY_OTHER"),
        ("ORCHESTRATOR_REQUESTS_PER_SECOND_DEFAULT", "did you mean ORCHESTRATOR_REQUESTS_PER_SEC"),
        ("MINDVIDEO_API_KYE_TEAM", "did you mean MINDVIDEO_API_KEY_TEAM"),
    ],
)
def test_a_limit_without_a_key_is_a_stranger(load: Load, variable: str, mend: str) -> None:
    (told,) = load(MINDVIDEO_API_KEY_TEAM="k", **{variable: "3"}).strangers()
    assert variable in told
    assert mend in told


def test_a_missing_account_names_its_variable_and_the_one_that_was_meant(load: Load) -> None:
    settings = load(MINDVIDEO_API_KEY="k", MINDVIDEO_API_KEY_TEAM="t")
    with pytest.raises(ConfigError, match="account taem has no API key") as missing:
        settings.require_account("taem")
    assert "MINDVIDEO_API_KEY_TAEM" in missing.value.mend
    assert "account team is meant" in missing.value.mend


def test_processes_started_elsewhere_get_the_same_accounts(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load(
        MINDVIDEO_API_KEY="k",
        MINDVIDEO_API_KEY_TEAM="t",
        ORCHESTRATOR_MAX_IN_FLIGHT_TEAM="7,kling-v2-6=2",
        ORCHESTRATOR_REQUESTS_PER_SECOND_TEAM="3",
    )
    told = settings.environment()
    monkeypatch.setattr("os.environ", told)
    assert load_settings().accounts == settings.accounts


def test_no_key_is_shown_by_the_settings(load: Load) -> None:
    settings = load(MINDVIDEO_API_KEY="hidden-a", MINDVIDEO_API_KEY_TEAM="hidden-b")
    shown = f"{settings!r} {settings} {settings.accounts!r}"
    assert "hidden" not in shown
    assert {"hidden-a", "hidden-b"} <= set(settings.secrets()), "log records are rid of them"


@pytest.mark.parametrize(
    ("rate", "rows"),
    [(None, 50), (1, 20), (2.5, 50), (50, 50), (120, 120), (1_000_000, 200)],
)
def test_a_chunk_has_more_rows_where_they_leave_within_a_second(
    rate: float | None, rows: int
) -> None:
    assert Account("default", "id", rate).chunk_rows(50, seconds=20) == rows
