"""A data directory that was removed whole finds its journal again under its former id."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from orchestrator.places import (
    create_data_dir,
    default_journal_dir,
    installation_id,
    note_home,
)


@pytest.fixture(autouse=True)
def state_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "state"
    monkeypatch.setenv("XDG_STATE_HOME", str(home))
    return home


def made(data_dir: Path) -> str:
    """The id of a data directory that a command just made, its journal knowing whose it is."""
    create_data_dir(data_dir)
    found = installation_id(data_dir)
    note_home(default_journal_dir(found), data_dir)
    return found


def test_a_removed_data_directory_comes_back_under_its_id(tmp_path: Path) -> None:
    first = made(tmp_path / "data")
    shutil.rmtree(tmp_path / "data")
    assert create_data_dir(tmp_path / "data")
    assert installation_id(tmp_path / "data") == first


def test_an_id_that_is_there_stays(tmp_path: Path) -> None:
    first = made(tmp_path / "data")
    journals = default_journal_dir(first).parent
    (journals / "other").mkdir(parents=True)
    (journals / "other" / "data-directory").write_text(f"{tmp_path / 'data'}\n")
    assert not create_data_dir(tmp_path / "data")
    assert installation_id(tmp_path / "data") == first


def test_another_path_gets_an_id_of_its_own(tmp_path: Path) -> None:
    first = made(tmp_path / "data")
    shutil.rmtree(tmp_path / "data")
    (tmp_path / "data-2").mkdir()
    others = {made(tmp_path / "data-2"), made(tmp_path / "dat")}
    assert len(others | {first}) == 3


def test_of_several_former_ids_the_newest_is_taken(tmp_path: Path, state_home: Path) -> None:
    for name, age in (("zz-old", 300), ("mm-new", 100), ("aa-older", 500)):
        home = default_journal_dir(name) / "data-directory"
        home.parent.mkdir(parents=True)
        home.write_text(f"{tmp_path / 'data'}\n")
        os.utime(home, (1_800_000_000 - age, 1_800_000_000 - age))
    assert made(tmp_path / "data") == "mm-new"


def test_a_journal_directory_of_the_users_own_choice_is_not_marked(tmp_path: Path) -> None:
    note_home(tmp_path / "elsewhere", tmp_path / "data")
    assert not (tmp_path / "elsewhere").exists()


def test_a_journal_directory_remembers_where_its_directory_is_now(tmp_path: Path) -> None:
    journal = default_journal_dir("one")
    note_home(journal, tmp_path / "first")
    note_home(journal, tmp_path / "second")
    assert (journal / "data-directory").read_text() == f"{tmp_path / 'second'}\n"
    assert journal.stat().st_mode & 0o777 == 0o700


def test_a_path_that_is_not_ascii_is_found_again(tmp_path: Path) -> None:
    first = made(tmp_path / "Büro – 視頻")
    shutil.rmtree(tmp_path / "Büro – 視頻")
    assert made(tmp_path / "Büro – 視頻") == first


def test_damaged_marks_are_passed_over(tmp_path: Path) -> None:
    home = default_journal_dir("broken") / "data-directory"
    home.parent.mkdir(parents=True)
    home.write_bytes(b"\xff\xfe\x00")
    assert made(tmp_path / "data") != "broken"
