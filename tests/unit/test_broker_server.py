"""What is said of a Redis or Valkey server, by what it says of itself."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.domain.broker_server import BrokerServer, fit_to_work, safety
from orchestrator.domain.findings import Level

GOOD = BrokerServer(
    name="Redis",
    version="7.2.4",
    policy="noeviction",
    max_bytes=0,
    used_bytes=1_000_000,
    appends=True,
    snapshots=True,
)


@pytest.mark.parametrize(
    ("version", "fits"),
    [
        ("5.0.14", False),
        ("6.0.20", False),
        ("6.2.0", True),
        ("6.10.1", True),
        ("7.2.4", True),
        ("10.0", True),
        ("", False),
        ("unknown", False),
    ],
)
def test_versions(version: str, fits: bool) -> None:
    found = [one.code for one in fit_to_work(replace(GOOD, version=version))]
    assert found == ([] if fits else ["broker_too_old"])


@pytest.mark.parametrize(
    "policy", ["allkeys-lru", "volatile-lru", "volatile-ttl", "allkeys-random"]
)
def test_a_server_that_evicts_is_refused_by_name(policy: str) -> None:
    (found,) = fit_to_work(replace(GOOD, policy=policy))
    assert (found.level, found.code) == (Level.BAD, "broker_evicts")
    assert policy in found.found
    assert "noeviction" in str(found.mend)


def test_a_policy_that_is_not_told_refuses_nobody() -> None:
    assert list(fit_to_work(replace(GOOD, policy=None))) == []


@pytest.mark.parametrize(
    ("change", "warned"),
    [
        ({}, []),
        ({"appends": False}, []),
        ({"appends": False, "snapshots": None}, []),
        ({"snapshots": False}, []),
        ({"appends": False, "snapshots": False}, ["broker's memory"]),
        ({"max_bytes": 1_050_000}, ["broker's memory"]),
        ({"max_bytes": 10_000_000}, []),
        ({"local": False, "password": True, "encrypted": True}, []),
        ({"local": False, "password": False, "encrypted": True}, ["broker link"]),
        ({"local": False, "password": True}, ["broker link"]),
    ],
)
def test_what_it_may_lose(change: dict[str, object], warned: list[str]) -> None:
    found = [one for one in safety(replace(GOOD, **change)) if one.level is not Level.OK]
    assert [one.check for one in found] == warned
    assert all(one.level is Level.WARNING for one in found)
