"""A worker process kills itself at every point of the way from the claim to the recorded end."""

from __future__ import annotations

import contextlib
import itertools
import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.ageing import end_leases, end_reservations
from tests.support.dying import Orders
from tests.support.installation import Installation, until
from tests.support.sandbox import Sandbox, sandbox
from tests.support.zygote import Running

ROWS = 12
QUICK = {
    "ORCHESTRATOR_REQUEST_TIMEOUT": "3s",
    "ORCHESTRATOR_REQUESTS_PER_SECOND": "20",
    "ORCHESTRATOR_FLOWER_PORT": "0",
}
WAVES = {
    "claiming": ["claim-committed", "intent-torn", "intent-journalled"],
    "sending": ["post-unsent", "post-unread", "post-answered"],
    "answers-before-commit": ["answer-unjournalled", "answer-torn", "answer-journalled"],
    "answers-committing": ["answer-half-written", "answer-recorded"],
    "polling": ["poll-leased", "get-unsent", "get-answered"],
    "ends-before-commit": ["end-unjournalled", "end-torn", "end-journalled"],
    "ends-committing": ["end-half-written", "end-recorded"],
    "rescuing": ["claim-committed", "rescue-half-written", "rescue-unburied"],
}
"""Points that one batch meets; few enough that no row is taken for the cause of its deaths."""


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    folder = tmp_path_factory.mktemp("provider")
    with sandbox(folder, "--queue", "0.1", "--median", "0.3") as running:
        yield running


@pytest.fixture(scope="module")
def orders(tmp_path_factory: pytest.TempPathFactory) -> Orders:
    return Orders(tmp_path_factory.mktemp("orders"))


@pytest.fixture(scope="module")
def here(
    tmp_path_factory: pytest.TempPathFactory, provider: Sandbox, orders: Orders
) -> Iterator[Installation]:
    """Its processes run from the first test to the last; each `run` joins them."""
    made = Installation(tmp_path_factory.mktemp("here"), provider.base_url, QUICK | orders.env)
    with running(made):
        yield made


@contextlib.contextmanager
def running(here: Installation) -> Iterator[None]:
    up = here.start("up", "--no-flower", "--json")
    try:
        assert up.stdout is not None
        assert any(line.startswith("{") for line in up.stdout)
        yield
    finally:
        up.send_signal(signal.SIGTERM)
        up.communicate(timeout=60)


@pytest.mark.parametrize("wave", WAVES)
def test_a_death_costs_no_video_and_no_money(
    wave: str, here: Installation, provider: Sandbox, orders: Orders
) -> None:
    orders.take_back()
    before = provider.charges
    orders.give(*WAVES[wave])
    said = to_its_end(here, here.start("run", here.prompts(f"{wave}.csv", ROWS)))
    assert orders.open == set()
    every_video_was_bought_once(said, provider, before)


def test_a_death_that_nobody_owns_is_mended_by_time(
    here: Installation, provider: Sandbox, orders: Orders
) -> None:
    orders.take_back()
    before = provider.charges
    points = ["chunk-unpublished", "claim-uncommitted", "poll-unpublished"]
    orders.give(points[0])
    run = here.start("run", here.prompts("unowned.csv", ROWS))
    for point, following in itertools.zip_longest(points, points[1:]):
        until(lambda point=point: point not in orders.open, seconds=100)
        if following:
            orders.give(following)
        end_reservations(database_of(here))
        end_leases(database_of(here))
    every_video_was_bought_once(to_its_end(here, run), provider, before)


def test_a_row_that_kills_its_worker_is_found_and_set_aside(
    tmp_path: Path, provider: Sandbox
) -> None:
    orders = Orders(tmp_path)
    (tmp_path / "poison").write_text("take 31")
    here = Installation(tmp_path, provider.base_url, QUICK | orders.env)
    before = provider.charges
    done = here.call("run", here.prompts("arsenic.csv", 55))
    assert done.returncode == 5, done.stdout
    others = [row for row in here.results("arsenic") if row["state"] != "succeeded"]
    assert [(row["row_key"], row["needs_person"]) for row in others] == [("r31", "poison")]
    assert provider.charges == before + 54
    assert provider.ledger()["charged_twice"] == 0
    (tmp_path / "poison").unlink()
    assert here.call("resolve", "arsenic").returncode == 0
    assert here.call("run", "arsenic.csv").returncode == 0
    assert provider.charges == before + 55


def database_of(here: Installation) -> str:
    return f"sqlite:///{here.folder / 'data' / 'orchestrator.db'}"


def to_its_end(here: Installation, run: Running) -> str:
    """What `run` said; messages that got lost with a process are missed sooner than usual."""

    def ended() -> bool:
        end_reservations(database_of(here), older_than=3)
        try:
            return run.wait(timeout=1) is not None
        except subprocess.TimeoutExpired:
            return False

    until(ended, 120)
    said, _ = run.communicate()
    assert run.returncode == 0, said
    return said


def every_video_was_bought_once(said: str, provider: Sandbox, before: int) -> None:
    """`said` is what `run` printed, one event a line."""
    assert provider.charges == before + ROWS
    assert provider.ledger()["charged_twice"] == 0
    events = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    results = [event for event in events if event["event"] == "result"]
    assert [row["state"] for row in results] == ["succeeded"] * ROWS
    assert all(row["video_urls"] for row in results)
    cost = events[-1]["cost"]
    assert (cost["held"], cost["actual"]) == ("0", "0.4968")
