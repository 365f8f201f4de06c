"""Settings that are refused at boot, with the variable's name and the mend."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.errors import ConfigError
from orchestrator.settings import load_settings

SECRET = "whsec_c2VjcmV0c2VjcmV0c2VjcmV0"


@pytest.fixture(autouse=True)
def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ORCHESTRATOR_WEBHOOK_SECRET", SECRET)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/hook",
        "https://localhost/hook",
        "https://127.0.0.1/hook",
        "https://192.168.1.5/hook",
        "https://[fe80::1]/hook",
        "https://printer.local/hook",
        "ftp://example.com/hook",
        "example.com/hook",
    ],
)
def test_a_webhook_must_be_public_https(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCHESTRATOR_WEBHOOK_URL", url)
    with pytest.raises(ConfigError, match="ORCHESTRATOR_WEBHOOK_URL"):
        load_settings()


def test_a_private_webhook_can_be_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCHESTRATOR_WEBHOOK_URL", "http://10.0.0.1/hook")
    monkeypatch.setenv("ORCHESTRATOR_WEBHOOK_ALLOW_PRIVATE", "1")
    assert load_settings().webhook_url == "http://10.0.0.1/hook"


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_*"])
def test_a_webhook_needs_a_secret(secret: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCHESTRATOR_WEBHOOK_URL", "https://example.com/hook")
    monkeypatch.setenv("ORCHESTRATOR_WEBHOOK_SECRET", secret)
    with pytest.raises(ConfigError, match="ORCHESTRATOR_WEBHOOK_SECRET"):
        load_settings()
