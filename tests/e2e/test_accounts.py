"""Several API keys at one provider, through real workers: each batch is sent with one of them."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.installation import Installation, until
from tests.support.sandbox import KEY, Sandbox, sandbox

MOST = 3
"""Tasks that the provider lets the team's key have unfinished."""


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """No key of it sees the tasks, or the idempotency keys, of another."""
    options = ("--queue", "0.1", "--median", "0.5", "--key-scope", "key")
    with sandbox(tmp_path_factory.mktemp("provider"), *options) as running:
        yield running


@pytest.fixture
def here(tmp_path: Path, provider: Sandbox) -> Installation:
    return Installation(tmp_path, provider.base_url)


def new_key(here: Installation, provider: Sandbox, *options: str) -> dict[str, str]:
    """A further key, as its owner makes it: {id, key}."""
    state = str(provider.state)
    made = here.call("sandbox", "keys", "create", "--state", state, "--json", *options)
    found: dict[str, str] = json.loads(made.stdout)
    return found


def of_key(provider: Sandbox, key_id: str) -> dict[str, object]:
    """What the provider's ledger says of a key."""
    keys: list[dict[str, object]] = provider.ledger()["keys"]  # type: ignore[assignment]
    (found,) = [key for key in keys if key["id"] == key_id]
    return found


def test_two_accounts_side_by_side(here: Installation, provider: Sandbox) -> None:
    team = new_key(here, provider, "--name", "team", "--max-in-flight", str(MOST))
    (here.folder / "team.key").write_text(team["key"])
    here.extra |= {
        "MINDVIDEO_API_KEY_TEAM_FILE": str(here.folder / "team.key"),
        "ORCHESTRATOR_MAX_IN_FLIGHT_TEAM": str(MOST),
        "ORCHESTRATOR_REQUESTS_PER_SECOND_TEAM": "20",
    }
    before = provider.charges
    up = here.start("up", "--no-flower")
    assert here.call("submit", here.prompts("ours.csv", 20)).returncode == 0
    spec = here.folder / "theirs.yaml"
    prompts = "".join(f"  - theirs, take {n}\n" for n in range(12))
    spec.write_text(f"account: team\nprompts:\n{prompts}")
    assert here.call("submit", spec.name).returncode == 0
    for batch in ("ours", "theirs"):
        watched = here.call("watch", batch, "--exit-status")
        assert watched.returncode == 0, watched.stdout
    assert here.status("ours")["account"] == "default"
    assert here.status("theirs")["account"] == "team"
    assert provider.charges == before + 32
    assert provider.ledger()["charged_twice"] == 0
    bought = of_key(provider, team["id"])
    assert (bought["charges"], bought["refused"]) == (12, 0)
    # Each task is asked about with its own key: under another the provider knows none of them.
    assert here.call("reconcile", "theirs").returncode == 0
    up.send_signal(signal.SIGTERM)
    up.communicate(timeout=60)
    for path in here.folder.rglob("*"):
        if path.is_file() and path.name != "team.key":
            content = path.read_bytes()
            assert KEY.encode() not in content, path
            assert team["key"].encode() not in content, path


def test_an_account_without_a_key_is_told_before_anything_is_recorded(here: Installation) -> None:
    here.extra["MINDVIDEO_API_KEY_TEAM"] = "mv_live_of_the_team"
    spec = here.prompts("shop.csv", 2)
    run = here.call("run", spec, "--account", "taem")
    assert run.returncode == 3
    assert "MINDVIDEO_API_KEY_TAEM" in run.stderr
    assert "account team is meant" in run.stderr
    assert json.loads(here.call("batches", "--json").stdout) == []

    assert here.call("run", spec, "--account", "no!").returncode == 2
    submitted = here.call("submit", spec, "--account", "Other")
    assert submitted.returncode == 0, "a machine that only submits needs no key"
    assert "MINDVIDEO_API_KEY_OTHER" in submitted.stderr
    now = here.status("shop")
    assert (now["account"], now["state"]) == ("other", "blocked")
    assert now["gate"]["reason"] == "no_api_key"  # type: ignore[index]
    assert "MINDVIDEO_API_KEY_OTHER" in now["gate"]["mend"]  # type: ignore[index]


def test_doctor_tries_every_key(here: Installation, provider: Sandbox) -> None:
    team = new_key(here, provider, "--name", "doctor")
    here.extra["MINDVIDEO_API_KEY_TEAM"] = team["key"]

    def found() -> tuple[int, dict[str, dict[str, object]]]:
        done = here.call("doctor", "--json")
        return done.returncode, {one["check"]: one for one in json.loads(done.stdout)}

    code, checks = found()
    assert code == 0
    assert "takes all 2 keys" in str(checks["provider"]["found"])
    assert "team " in str(checks["API key"]["found"])
    state = str(provider.state)
    assert here.call("sandbox", "keys", "disable", team["id"], "--state", state).returncode == 0
    code, checks = found()
    assert code == 3
    assert "MINDVIDEO_API_KEY_TEAM" in f"{checks['provider']['found']} {checks['provider']['mend']}"
    until(lambda: of_key(provider, team["id"])["charges"] == 0)
