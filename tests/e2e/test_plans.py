"""plan -o and submit: what was looked at is what is done."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.installation import Installation


@pytest.fixture
def here(tmp_path: Path) -> Installation:
    made = Installation(tmp_path, "http://127.0.0.1:9/api/v1")
    made.write("launch.csv", [["id", "prompt"], ["a", "a kite"], ["b", "a boat"]])
    assert made.call("submit", "launch.csv").returncode == 0
    made.write("launch.csv", [["id", "prompt"], ["a", "a kite"], ["b", "a ship"], ["c", "a car"]])
    planned = made.call("plan", "launch.csv", "-o", "launch.plan", "--budget", "3")
    assert planned.returncode == 0, planned.stderr
    return made


def test_a_plan_that_holds_is_done(here: Installation) -> None:
    done = here.call("submit", "launch.plan", "--json")
    assert done.returncode == 0, done.stderr
    status = here.status("launch")
    assert status["total"] == 3
    assert status["cost"]["budget"] == "3"  # type: ignore[index]
    again = here.call("submit", "launch.plan")
    assert again.returncode == 2, "it has been done: nothing is new any more"


def edit(here: Installation) -> None:
    with (here.folder / "launch.csv").open("a") as file:
        file.write("d,a plane\n")


def submit_another(here: Installation) -> None:
    assert here.call("submit", "launch.csv").returncode == 0


def remove(here: Installation) -> None:
    (here.folder / "launch.csv").unlink()


@pytest.mark.parametrize(
    ("change", "said"),
    [(edit, "the file"), (submit_another, "are in the batch already"), (remove, "cannot be read")],
)
def test_a_plan_that_no_longer_holds_is_refused(
    here: Installation, change: Callable[[Installation], None], said: str
) -> None:
    change(here)
    before = here.status("launch")
    refused = here.call("submit", "launch.plan")
    assert refused.returncode == 2
    assert said in refused.stderr
    assert here.status("launch") == before


def test_a_plan_knows_the_table_that_its_rows_come_from(here: Installation) -> None:
    here.write("cars.csv", [["prompt"], ["a red car"]])
    (here.folder / "cars.yaml").write_text("rows: cars.csv\n")
    assert here.call("plan", "cars.yaml", "-o", "cars.plan").returncode == 0
    here.write("cars.csv", [["prompt"], ["a blue car"]])
    refused = here.call("submit", "cars.plan")
    assert refused.returncode == 2
    assert "cars.csv" in refused.stderr
    here.write("cars.csv", [["prompt"], ["a red car"]])
    assert here.call("submit", "cars.plan").returncode == 0


def test_a_plan_lists_what_it_skips(here: Installation) -> None:
    here.write("some.csv", [["prompt", "size"], ["a kite", "1:1"], ["a boat", "4:3"]])
    skipping = ("--skip-invalid", "--rejects", "bad.csv", "--json")
    planned = here.call("plan", "some.csv", *skipping)
    assert planned.returncode == 0, planned.stderr
    (problem,) = json.loads(planned.stdout)["problems"]
    assert (problem["line"], problem["field"]) == (3, "size")
    assert len((here.folder / "bad.csv").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ["plan", "launch.csv", "--label", "a/b"],
        ["submit", "launch.csv", "--prune", "--keep-removed"],
        ["submit", "launch.plan", "--label", "x"],
        ["submit", "broken.plan"],
        ["submit", "absent.plan"],
        ["plan", "launch.csv", "-o", "launch.txt"],
        ["plan", "launch.csv", "-o", "no/such/folder.plan"],
    ],
)
def test_what_is_no_plan_or_no_place_for_one(here: Installation, arguments: list[str]) -> None:
    (here.folder / "broken.plan").write_text('{"version": 1}')
    done = here.call(*arguments)
    assert done.returncode == 2, done.stdout
    assert "Traceback" not in done.stderr


def test_a_price_file_counts_before_any_answer_and_is_part_of_a_plan(tmp_path: Path) -> None:
    here = Installation(tmp_path, "http://127.0.0.1:9/api/v1")
    here.prompts("kites.csv", 3)
    prices = here.folder / "prices.yaml"
    prices.write_text("kling-v2-6/std/5s/silent: 0.03\n")
    told = ["--budget", "0.07", "--prices", "prices.yaml", "-o", "kites.plan", "--json"]
    planned = json.loads(here.call("plan", "kites.csv", *told).stdout)
    assert planned["cost"] == {"low": "0.09", "high": "0.09", "known": True}
    assert planned["budget"]["verdict"] == "short"
    assert "about 2 of 3 rows; 0.02 USD more" in planned["budget"]["text"]
    (only,) = planned["price_classes"]
    assert (only["rows"], only["price"], only["cost"]) == (3, "0.03", "0.09")
    assert only["origin"].startswith("from prices.yaml, ")
    prices.write_text("kling-v2-6/std/5s/silent: 0.04\n")
    refused = here.call("submit", "kites.plan")
    assert refused.returncode == 2
    assert "a price" in refused.stderr
    here.extra["ORCHESTRATOR_PRICES"] = "prices.yaml"
    assert here.call("submit", "kites.csv").returncode == 0
    del here.extra["ORCHESTRATOR_PRICES"]
    prices.unlink()
    later = json.loads(here.call("plan", "kites.csv", "--label", "b", "--json").stdout)
    assert later["cost"]["low"] == "0.12", "what was submitted with is in the price book"
