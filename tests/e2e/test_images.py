"""Images named by a path, from the file to what the provider was sent."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import sqlite3
from pathlib import Path

import pytest

from orchestrator.domain.models.images import MAX_IMAGE_BYTES
from tests.support.installation import Installation
from tests.support.sandbox import sandbox

PNG = b"\x89PNG\r\n\x1a\n"
DEFAULTS = {"audio": False, "cfg_scale": 0.5, "duration": 5, "mode": "std", "size": "16:9"}


@pytest.fixture
def here(tmp_path: Path) -> Installation:
    made = Installation(tmp_path, "http://127.0.0.1:9/api/v1")
    (tmp_path / "specs" / "pictures").mkdir(parents=True)
    (tmp_path / "specs" / "pictures" / "cat.png").write_bytes(PNG + b"cat")
    rows = [["id", "prompt", "image_url"], ["a", "a kite", "pictures/cat.png"]]
    made.write("specs/s.csv", rows)
    return made


def plan(here: Installation, spec: str = "specs/s.csv") -> dict[str, object]:
    done = here.call("plan", spec, "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_the_image_counts_and_not_its_path(here: Installation) -> None:
    assert here.call("submit", "specs/s.csv").returncode == 0
    cat = here.folder / "specs" / "pictures" / "cat.png"
    cat.rename(here.folder / "tom")
    here.write("specs/s.csv", [["id", "prompt", "image_url"], ["a", "a kite", "../tom"]])
    assert plan(here)["known"] == 1
    uri = f"data:image/png;base64,{base64.b64encode(PNG + b'cat').decode()}"
    here.write("specs/s.csv", [["id", "prompt", "image_url"], ["a", "a kite", uri]])
    assert plan(here)["known"] == 1
    here.write("specs/s.csv", [["id", "prompt", "image_url"], ["a", "a kite", "pictures/cat.png"]])
    cat.write_bytes(PNG + b"dog")
    assert plan(here)["changed"] == 1


def test_a_saved_plan_is_refused_when_an_image_changed(here: Installation) -> None:
    assert here.call("plan", "specs/s.csv", "-o", "s.plan").returncode == 0
    cat = here.folder / "specs" / "pictures" / "cat.png"
    cat.write_bytes(PNG + b"dog")
    refused = here.call("submit", "s.plan")
    assert refused.returncode == 2
    assert "an image that the spec names" in refused.stderr
    cat.write_bytes(PNG + b"cat")
    assert here.call("submit", "s.plan").returncode == 0


def test_what_was_read_is_sent_even_when_the_file_is_gone(here: Installation) -> None:
    with sandbox(here.folder / "provider", "--median", "0.2") as provider:
        here.base_url = provider.base_url
        assert here.call("submit", "specs/s.csv").returncode == 0
        cat = here.folder / "specs" / "pictures" / "cat.png"
        cat.rename(here.folder / "gone.png")
        more = here.write("more.csv", [["id", "prompt"], ["b", "a boat"]])
        done = here.call("run", more, "--name", "s", "--append", "--yes")
        assert done.returncode == 0, done.stderr
        assert provider.charges == 2
        uri = f"data:image/png;base64,{base64.b64encode(PNG + b'cat').decode()}"
        wanted = {"prompt": "a kite", "image_url": uri}
        body = {"model": "kling-v2-6", "input": DEFAULTS | wanted}
        payload = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
        with contextlib.closing(sqlite3.connect(provider.state)) as ledger:
            sent = {row[0] for row in ledger.execute("SELECT payload FROM charges")}
        assert payload in sent


def test_what_cannot_be_sent_is_a_problem_of_its_row(here: Installation) -> None:
    folder = here.folder / "specs"
    (folder / "text.png").write_text("a text")
    with (folder / "large.png").open("wb") as file:
        file.write(PNG)
        file.truncate(MAX_IMAGE_BYTES + 1)
    os.mkfifo(folder / "pipe.png")
    (folder / "loop.png").symlink_to("loop.png")
    wrong = {
        "none.png": "there is no file",
        "text.png": "no image that can be sent",
        "large.png": "more than 10 MB",
        "pipe.png": "not an ordinary file",
        ".": "is a directory",
        "loop.png": "cannot be",
    }
    here.write("specs/s.csv", [["prompt", "image_url"], *(["a kite", name] for name in wrong)])
    refused = here.call("validate", "specs/s.csv", "--json")
    assert refused.returncode == 2
    problems = json.loads(refused.stdout)["problems"]
    assert [one["line"] for one in problems] == [2, 3, 4, 5, 6, 7]
    for problem, said in zip(problems, wrong.values(), strict=True):
        assert said in problem["message"]


def test_temporary_addresses_are_noted_once_for_each_host(here: Installation) -> None:
    signed = "https://b.example.com/{}.png?X-Amz-Date=20260101T120000Z&X-Amz-Expires=600"
    rows = [["a", signed.format(1)], ["b", signed.format(2)], ["c", "https://c.example.com/c.png"]]
    here.write("specs/s.csv", [["prompt", "image_url"], *rows])
    (note,) = plan(here)["notes"]  # type: ignore[misc, attr-defined]
    assert "has expired (2026-01-01 12:10 UTC)" in str(note)
