"""pause, resume, cancel, retry and budgets, as a person types them while workers run."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.installation import Installation, until
from tests.support.sandbox import Sandbox, sandbox

PRICE = 0.0414


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with sandbox(tmp_path_factory.mktemp("provider"), "--median", "0.5") as running:
        yield running


CALM = {"ORCHESTRATOR_REQUESTS_PER_SECOND": "15", "ORCHESTRATOR_FLOWER_PORT": "0"}


@pytest.fixture
def alone(tmp_path: Path, provider: Sandbox) -> Installation:
    """An installation of its own, where nothing runs yet."""
    provider.faults()
    return Installation(tmp_path, provider.base_url, CALM)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, provider: Sandbox) -> Iterator[Installation]:
    made = Installation(tmp_path_factory.mktemp("here"), provider.base_url, CALM)
    with up(made):
        yield made


@pytest.fixture
def here(running: Installation, provider: Sandbox) -> Installation:
    """Its processes run from the first test to the last; each `run` joins them."""
    provider.faults()
    return running


@contextmanager
def up(here: Installation) -> Iterator[None]:
    process = here.start("up", "--no-flower", "--json")
    try:
        assert process.stdout is not None
        assert any(line.startswith("{") for line in process.stdout)
        yield
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)


def counts(here: Installation, batch: str) -> dict[str, int]:
    found: dict[str, int] = here.status(batch)["counts"]  # type: ignore[assignment]
    return {state: number for state, number in found.items() if number}


def test_a_paused_batch_sends_nothing_until_it_is_resumed(
    here: Installation, provider: Sandbox
) -> None:
    before = provider.charges
    here.call("submit", here.prompts("halt.csv", 120))
    until(lambda: provider.charges >= before + 4)
    paused = here.call("pause", "halt")
    assert paused.returncode == 0, paused.stderr
    assert "in flight: $" in paused.stdout
    watched = here.call("watch", "halt", "--exit-status")
    assert watched.returncode == 5, "a person has to resume it"
    bought = provider.charges
    assert bought < before + 120
    assert counts(here, "halt") == {
        "pending": 120 - (bought - before),
        "succeeded": bought - before,
    }
    assert here.status("halt")["state"] == "paused"
    assert here.call("resume", "halt").returncode == 0
    assert here.call("watch", "halt", "--exit-status").returncode == 0
    assert provider.charges == before + 120


def test_a_cancel_takes_back_what_was_not_sent(here: Installation, provider: Sandbox) -> None:
    before = provider.charges
    here.call("submit", here.prompts("axe.csv", 120))
    until(lambda: provider.charges >= before + 4)
    cancelled = json.loads(here.call("cancel", "axe", "--json").stdout)
    assert cancelled["counts"]["withdrawn"] > 0
    assert here.call("watch", "axe", "--exit-status").returncode == 0
    bought = provider.charges - before
    assert counts(here, "axe") == {"succeeded": bought, "withdrawn": 120 - bought}
    assert here.call("submit", "axe.csv").returncode == 2, "cancelled: resume it first"
    assert here.call("cancel", "axe").returncode == 2, "it is finished"
    assert here.call("resume", "axe").returncode == 0
    assert here.call("watch", "axe", "--exit-status").returncode == 0
    assert counts(here, "axe") == {"succeeded": 120}
    assert provider.charges == before + 120


def test_retry_buys_anew_only_what_ended_badly(here: Installation, provider: Sandbox) -> None:
    before = provider.charges
    provider.faults({"on": "submit", "kind": "reject_422", "match": "take 3"})
    assert here.call("run", here.prompts("again.csv", 6)).returncode == 1
    assert counts(here, "again") == {"succeeded": 5, "rejected": 1}
    assert provider.charges == before + 5
    here.call("results", "again", "--failed", "--format", "csv", "-o", "failed.csv")
    planned = json.loads(here.call("plan", "failed.csv", "--name", "again", "--json").stdout)
    assert (planned["rows"], planned["known"], planned["new"]) == (1, 1, 0)
    few = here.call("results", "again", "--where", "code=rejected", "--columns", "row_key,state")
    assert few.stdout == "row_key,state\nr3,rejected\n"
    assert here.call("results", "again", "--columns", "sate").returncode == 2
    provider.faults()
    nothing = here.call("retry", "again", "--where", "code=moderation")
    assert nothing.returncode == 0
    assert counts(here, "again") == {"succeeded": 5, "rejected": 1}
    retried = here.call("retry", "again", "--where", "code=rejected")
    assert "added cost: about $0.0414" in retried.stdout
    assert here.call("run", "again.csv").returncode == 0
    assert provider.charges == before + 6
    (row,) = [row for row in here.results("again") if row["row_key"] == "r3"]
    assert row["generation"] == 1
    capped = here.call("retry", "again", "--max-generations", "1")
    assert capped.returncode == 0
    assert provider.charges == before + 6


def test_the_specs_retries_answer_failures_that_the_provider_reports(
    tmp_path: Path,
) -> None:
    with sandbox(tmp_path / "sandbox", "--median", "0.2", "--failure-rate", "0.5") as flaky:
        here = Installation(tmp_path, flaky.base_url)
        prompts = "\n".join(f"  - a red kite {i}" for i in range(8))
        (tmp_path / "keen.yaml").write_text(f"retries: 9\nprompts:\n{prompts}\n")
        done = here.call("run", "keen.yaml")
        results = here.results("keen")
        assert done.returncode == 0, [row["error_message"] for row in results]
        purchases = sum(int(str(row["generation"])) + 1 for row in results)
        assert purchases > 8
        assert flaky.ledger()["posts"] == purchases
        status = here.status("keen")
        assert status["cost"]["held"] == "0"  # type: ignore[index]
        paid = sum(float(str(row["cost_actual"] or 0)) for row in results)
        assert paid == pytest.approx(float(str(flaky.ledger()["total"])))


def test_a_spent_budget_goes_on_with_a_higher_one(here: Installation, provider: Sandbox) -> None:
    before = provider.charges
    spec = here.prompts("purse.csv", 6)
    stopped = here.call("run", spec, "--budget", "0.1")
    assert stopped.returncode == 4, stopped.stderr
    assert provider.charges == before + 2
    gate = here.status("purse")["gate"]
    assert "resume" in gate["mend"]  # type: ignore[index]
    low = here.call("resume", "purse", "--budget", "0.05")
    assert low.returncode == 2
    assert "0.0828" in low.stderr
    assert here.call("resume", "purse", "--budget", "1").returncode == 0
    assert here.call("run", spec).returncode == 0
    assert provider.charges == before + 6
    assert here.status("purse")["cost"]["budget"] == "1"  # type: ignore[index]


def test_no_row_is_sent_above_a_highest_price_or_at_an_unknown_one(
    alone: Installation, provider: Sandbox
) -> None:
    before = provider.charges
    with up(alone):
        rows = [["id", "prompt", "mode"], ["a", "dear kite", "pro"], ["b", "cheap kite", "std"]]
        spec = alone.write("cap.csv", rows)
        unknown = alone.call("run", spec, "--max-price", "0.05")
        assert unknown.returncode == 4, unknown.stderr
        assert provider.charges == before
        assert alone.status("cap")["gate"]["reason"] == "max_price"  # type: ignore[index]
        assert alone.call("run", spec, "--label", "teacher").returncode == 0
        capped = alone.call("run", spec, "--max-price", "0.05")
        assert capped.returncode == 4
        assert provider.charges == before + 3, "the dear row in front does not bar the cheap one"
        assert alone.call("run", spec, "--max-price", "100").returncode == 0
        assert provider.charges == before + 4


def test_what_cannot_be_steered_is_refused_with_the_mend(alone: Installation) -> None:
    spec = alone.prompts("two.csv", 2)
    alone.call("submit", spec, "--label", "a")
    alone.call("submit", spec, "--label", "b")
    assert alone.call("watch").returncode == 2
    bare = alone.call("pause", "two", "--json")
    assert bare.returncode == 2
    assert json.loads(bare.stderr)["error"]["code"] == "ambiguous_batch"
    assert alone.call("pause", "two@a").returncode == 0
    assert alone.call("pause", "two@c").returncode == 2
    assert alone.call("retry", "two@a", "--where", "color=red").returncode == 2
    unknown = alone.call("retry", "two@a", "--row", "nope")
    assert (unknown.returncode, "has no row 'nope'" in unknown.stderr) == (2, True)
    assert alone.call("run", spec, "--label", "b").returncode == 0
    every = alone.call("watch", "--all", "--exit-status")
    assert every.returncode == 5, "two@a is paused"
    assert json.loads(every.stdout.splitlines()[-1])["batch"] == "two@a"
    finished = alone.call("resume", "two@b")
    assert finished.returncode == 2
    assert "finished" in finished.stderr
    assert alone.call("run", spec, "--label", "a").returncode == 5, "paused is a person's wish"


def test_a_canary_and_a_limit_hold_the_others_back(here: Installation, provider: Sandbox) -> None:
    before = provider.charges
    provider.faults({"on": "submit", "kind": "reject_422", "match": "take 1"})
    first = ("run", here.prompts("mine.csv", 9), "--canary", "4", "--limit", "7")
    done = here.call(*first)
    assert done.returncode == 5, done.stdout
    assert counts(here, "mine") == {"succeeded": 3, "rejected": 1, "pending": 5}
    now = here.status("mine")
    assert (now["state"], now["gate"]["reason"]) == ("paused", "canary")  # type: ignore[index]
    assert "1 failed" in done.stderr or "1 failed" in done.stdout
    assert provider.charges == before + 3
    assert here.call("resume", "mine").returncode == 0
    done = here.call("run", "mine.csv")
    assert done.returncode == 4, done.stdout
    assert (here.status("mine")["sent"], provider.charges) == (7, before + 6)
    assert here.call("run", "mine.csv", "--limit", "none").returncode == 1
    assert provider.charges == before + 8
    provider.faults()
    good = here.call("run", here.prompts("fine.csv", 6), "--canary", "2", "--priority", "3")
    assert good.returncode == 0, good.stdout
    assert here.status("fine")["canary"]["phase"] == "passed"  # type: ignore[index]
    refused = here.call("submit", "fine.csv", "--canary", "9", "--limit", "3")
    assert refused.returncode == 2, refused.stdout
