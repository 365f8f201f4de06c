"""Messages that come twice, late, or not at all; workers that sleep; clocks that jump."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from orchestrator.domain.states import State
from tests.support.installation import Installation
from tests.support.sandbox import Sandbox, sandbox
from tests.support.shop import Shop, accept
from tests.support.valkey import short_directory, valkey_server


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with sandbox(tmp_path_factory.mktemp("provider"), "--median", "0.5") as running:
        yield running


@pytest.fixture
def here(tmp_path: Path, provider: Sandbox) -> Installation:
    provider.faults()
    return Installation(tmp_path, provider.base_url, {"ORCHESTRATOR_REQUEST_TIMEOUT": "10s"})


@pytest.fixture(scope="module")
def broker() -> Iterator[str]:
    with short_directory() as place, valkey_server(place) as server:
        yield str(server.url)


@pytest.fixture
def shop(tmp_path: Path, broker: str) -> Shop:
    return Shop(tmp_path, broker, accept)


def test_one_message_three_times_at_once_buys_once(shop: Shop) -> None:
    batch = shop.submit(40)
    ids = shop.due(batch)
    with ThreadPoolExecutor(3) as workers:
        recorded = list(workers.map(lambda _: shop.buy(ids), range(3)))
    assert sum(recorded) == 40
    assert len(shop.posts) == len(set(shop.posts)) == 40
    assert shop.counts(batch) == {State.QUEUED: 40}


def test_a_clock_that_was_set_back_sends_nothing(shop: Shop) -> None:
    batch = shop.submit(2)
    ids = shop.due(batch)
    steps = iter([0.0])
    # The claim reads the clock first; every later look finds it an hour earlier.
    shop.clock = lambda: time.time() + next(steps, -3600.0)
    shop.buy(ids)
    assert shop.posts == []
    assert shop.counts(batch) == {State.PENDING: 2}


def test_two_submits_of_one_file_at_the_same_moment(here: Installation, provider: Sandbox) -> None:
    before = provider.charges
    spec = here.prompts("twin.csv", 30)
    twins = [here.start("submit", spec) for _ in range(2)]
    said = [twin.communicate(timeout=60)[0] for twin in twins]
    assert [twin.returncode for twin in twins] == [0, 0], said
    told = [line for text in said for line in text.splitlines() if line.startswith("{")]
    added = [json.loads(line)["added"] for line in told]
    assert here.call("run", spec).returncode == 0
    assert provider.charges == before + 30
    assert len(here.results("twin")) == 30
    assert sorted(added) == [0, 30]


def test_two_beats_and_a_broker_that_delivers_again_after_two_seconds(
    here: Installation, provider: Sandbox
) -> None:
    before = provider.charges
    provider.faults({"on": "submit", "kind": "hang_after_commit", "rate": 0.3, "seconds": 4})
    spec = here.prompts("again.csv", 20)
    worker = ["worker", "--queues=submit,poll,ticks", "--concurrency=4", "--loglevel=WARNING"]
    beats = [["beat", f"--schedule=beat-{n}", f"--pidfile=beat-{n}.pid"] for n in range(2)]
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(valkey_server(stack.enter_context(short_directory())))
        here.extra["ORCHESTRATOR_BROKER_URL"] = server.broker_url
        assert here.call("submit", spec).returncode == 0
        for arguments in [worker, *beats]:
            stack.enter_context(celery(here, *arguments))
        watched = here.call("watch", "again", "--exit-status")
        assert watched.returncode == 0, watched.stdout
    assert provider.charges == before + 20
    assert provider.ledger()["charged_twice"] == 0
    assert len(here.results("again")) == 20


@contextlib.contextmanager
def celery(here: Installation, *arguments: str) -> Iterator[None]:
    """One Celery process of an installation that a person runs by hand."""
    command = [sys.executable, "-m", "celery", "-A", "tests.support.impatient", *arguments]
    root = str(Path(__file__).parents[2])
    with (here.folder / f"{arguments[0]}.log").open("ab") as log:
        process = subprocess.Popen(
            command, cwd=here.folder, env=here.env | {"PYTHONPATH": root}, stdout=log, stderr=log
        )
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
