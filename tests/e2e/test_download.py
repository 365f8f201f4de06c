"""Videos on disk, as a person asks for them."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.installation import COMMAND, Installation
from tests.support.sandbox import Sandbox, sandbox

ROWS = 30


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    folder = tmp_path_factory.mktemp("provider")
    with sandbox(folder, "--median", "0.3", "--url-lifetime", "600") as running:
        yield running


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory, provider: Sandbox) -> Installation:
    """Its batch `films` is bought and saved."""
    made = Installation(tmp_path_factory.mktemp("here"), provider.base_url)
    done = made.call("run", made.prompts("films.csv", ROWS), "--download", "films")
    assert done.returncode == 0, done.stderr
    return made


def fetched(provider: Sandbox) -> int:
    return int(str(provider.ledger()["outputs"]))


def whole(here: Installation, folder: str) -> int:
    """How many videos of the batch lie in a folder just as they were recorded."""
    lines = here.call("download", "films", "-o", folder, "--json").stdout
    report = json.loads(lines)
    assert report["saved"] == 0, "everything was there"
    return int(report["known"])


def test_a_run_saves_each_video_as_soon_as_it_is_there(
    here: Installation, provider: Sandbox
) -> None:
    results = here.results("films")
    paths = [Path(str(row["video_path"])) for row in results]
    assert {path.parent for path in paths} == {here.folder / "films"}
    assert len({hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}) == ROWS
    assert whole(here, "films") == ROWS


def test_a_kill_in_the_middle_costs_no_second_fetch(here: Installation, provider: Sandbox) -> None:
    before = fetched(provider)
    here.extra["ORCHESTRATOR_DOWNLOADS"] = "2"
    saving = here.start("download", "films", "-o", "again")
    assert saving.stdout is not None
    for _ in range(5):
        assert "saved" in saving.stdout.readline()
    saving.kill()
    saving.communicate()
    assert here.call("download", "films", "-o", "again").returncode == 0
    assert fetched(provider) <= before + ROWS + 2, "what was under way may be asked for again"
    assert whole(here, "again") == ROWS


def test_a_full_disk_stops_and_loses_nothing(here: Installation) -> None:
    if (
        shutil.which("unshare") is None
        or subprocess.run(["unshare", "-rm", "true"], check=False, capture_output=True).returncode
    ):
        pytest.skip("a file system of its own cannot be made here")
    (here.folder / "small").mkdir()
    mounted = 'mount -t tmpfs -o size=48k none small && exec "$@"'
    command = [*COMMAND, "download", "films", "-o", "small", "--json"]
    full = subprocess.run(
        ["unshare", "-rm", "sh", "-c", mounted, "sh", *command],
        cwd=here.folder,
        env=here.env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert full.returncode == 3, full.stderr
    report = json.loads(full.stdout)
    assert report["stopped"]["code"] == "disk_full"
    assert 0 < report["saved"] < ROWS
    assert here.call("download", "films", "-o", "small").returncode == 0
    assert whole(here, "small") == ROWS


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-o", "file/videos"], "videos cannot be saved in file/videos"),
        (["--name", "{row_ky}.mp4"], "Did you mean {row_key}?"),
        (["--name", "../{row_key}.mp4"], "leads out of the download folder"),
        (["-o", "nonsense://place"], "no place to save to"),
    ],
)
def test_a_place_or_name_that_cannot_be(
    here: Installation, arguments: list[str], said: str
) -> None:
    (here.folder / "file").write_text("")
    done = here.call("download", "films", *arguments)
    assert done.returncode == 2
    assert said in done.stderr
