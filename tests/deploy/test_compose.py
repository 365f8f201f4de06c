"""deploy/compose: Compose takes the file, and its services run a batch with just these commands."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.composed import BIN, Fleet, composed, make_fleet
from tests.support.installation import until
from tests.support.postgres import postgres_cluster

pytestmark = pytest.mark.skipif(
    not (BIN / "docker-compose").exists(), reason="no wheel of Docker Compose for this platform"
)
# What starts slowly first.
FLEET = (
    "flower",
    "sandbox",
    "worker-submit",
    "worker-poll",
    "beat-1",
    "beat-2",
    "metrics",
    "proxy",
)
OPTIONS = ("--env-file", "sandbox.env", "--profile", "sandbox", "--profile", "cli")
ROWS = 20


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    with (
        postgres_cluster() as cluster,
        make_fleet(tmp_path, cluster, *OPTIONS) as fleet,
    ):
        yield fleet


@pytest.mark.timeout(400)
def test_the_services_run_a_batch_and_end_when_told(fleet: Fleet) -> None:
    fleet.up(*FLEET)
    specs = fleet.mounts("cli")["/work"]
    specs.mkdir(parents=True)
    with (specs / "launch.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["prompt"], *([f"a red kite, take {i}"] for i in range(ROWS))])

    fleet.run("cli", "submit", "launch.csv", "--yes", "--watch")

    results = json.loads(fleet.run("cli", "results", "launch", "--format", "json"))
    assert [row["state"] for row in results] == ["succeeded"] * ROWS
    ledger = httpx.get(f"http://{fleet.address('sandbox')}:8790/_sandbox/ledger").json()
    assert (ledger["charges"], ledger["charged_twice"]) == (ROWS, 0)
    journal = fleet.mounts("worker-submit")["/var/lib/orchestrator/journal"]
    assert len(list(journal.glob("*.journal"))) >= 2, "every process its own file, in one folder"
    assert "launch@default" in flower_through_the_proxy(fleet)
    for name in FLEET:
        until(lambda name=name: fleet.healthy(name))
    assert bad_findings(fleet) <= {"journals"}, "which may lie on a tmpfs where tests run"
    codes = {name: fleet.stop(name) for name in [*FLEET, "valkey", "postgres"]}
    assert set(codes.values()) == {0}, codes


def bad_findings(fleet: Fleet) -> set[str]:
    """What the program itself finds unsafe in a fleet that is made like this."""
    findings = json.loads(fleet.run("cli", "doctor", "--fleet", "--json", codes=(0, 3)))
    assert {"commits", "broker's memory", "beats", "queues"} <= {one["check"] for one in findings}
    return {one["check"] for one in findings if one["level"] == "bad"}


def flower_through_the_proxy(fleet: Fleet) -> str:
    """What Flower's task list says; and that the proxy closes what Flower leaves open."""
    proxy = f"http://{fleet.address('proxy')}:8080"
    user, _, password = fleet.files["secrets/flower_basic_auth"].read_text().strip().partition(":")
    assert httpx.get(f"http://{fleet.address('flower')}:5555/metrics").status_code == 200
    for path in (
        "metrics",
        "metrics/",
        "/metrics",
        "%6Detrics",
        "METRICS",
        "./metrics",
        "x/../metrics",
    ):
        assert httpx.get(f"{proxy}/{path}").status_code == 404, path
    assert httpx.get(f"{proxy}/healthcheck").status_code == 200
    assert httpx.get(f"{proxy}/api/tasks").status_code == 401
    return httpx.get(f"{proxy}/api/tasks", auth=(user, password)).text


def test_every_container_is_locked() -> None:
    services = composed("--profile", "*")["services"]
    for name, service in services.items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "build" in service or service["user"] not in {"", "root", "0"}, name
        assert not [p for p in service.get("ports", ()) if p.get("host_ip") != "127.0.0.1"], name


def test_no_secret_is_a_variable_and_each_is_given_only_to_who_needs_it() -> None:
    services = composed("--profile", "*")["services"]
    given: dict[str, set[str]] = {}
    for name, service in services.items():
        for variable, value in (service.get("environment") or {}).items():
            assert not variable.endswith(
                ("_KEY", "_PASSWORD", "_AUTH", "DATABASE_URL", "BROKER_URL")
            )
            if variable.endswith("_FILE"):
                assert value in [secret["target"] for secret in service["secrets"]], variable
        for secret in service.get("secrets", ()):
            given.setdefault(secret["source"], set()).add(name)
    assert given["mindvideo_api_key"] == {"worker-submit", "worker-poll", "cli", "sandbox"}
    assert given["database_url"] == {"worker-submit", "worker-poll", "cli", "migrate", "metrics"}
