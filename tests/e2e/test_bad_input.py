"""What people get wrong: each ends with a sentence, the mend and the documented code."""

from __future__ import annotations

import os
import pty
import socket
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.store import schema
from orchestrator.store.engine import Store
from tests.support.installation import COMMAND, Installation

UNREACHABLE = "http://127.0.0.1:9/api/v1"


@pytest.fixture
def here(tmp_path: Path) -> Installation:
    return Installation(tmp_path, UNREACHABLE)


def spec(text: str | bytes) -> Callable[[Installation], None]:
    def write(here: Installation) -> None:
        content = text.encode() if isinstance(text, str) else text
        (here.folder / "my.csv").write_bytes(content)

    return write


LONG = "x" * 2501
SPECS = {
    "missing": (lambda _: None, ["my.csv"]),
    "empty": (spec(""), ["empty"]),
    "header only": (spec("prompt\n"), ["row"]),
    "encoding": (spec("prompt\nna\xefve\n".encode("latin-1")), ["UTF-8"]),
    "long prompt": (spec(f"prompt\n{LONG}\n"), ["my.csv:2:1", "prompt"]),
    "duration": (spec("prompt,duration\nhi,7\n"), ["my.csv:2:2", "duration", "'7'", "5", "10"]),
    "audio": (spec("prompt,audio,mode\nhi,true,std\n"), ["audio needs mode pro"]),
    "same id": (spec("id,prompt\na,hi\na,ho\n"), ["my.csv:3:1", "lines 2 and 3"]),
    "unknown column": (spec("promt\nhi\n"), ["promt", "prompt"]),
}


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("command", ["validate", "submit"])
def test_a_bad_spec(here: Installation, name: str, command: str) -> None:
    write, wanted = SPECS[name]
    write(here)
    done = here.call(command, "my.csv")
    assert done.returncode == 2, done.stdout + done.stderr
    said = done.stdout + done.stderr
    assert "Traceback" not in said
    for part in wanted:
        assert part in said
    if command == "submit":
        assert here.call("batches", "--json").stdout.strip() == "[]"


def test_every_problem_in_one_pass(here: Installation) -> None:
    spec("prompt,duration,size\nhi,7,16:9\n,5,4:3\nho,5,9:16\n")(here)
    said = here.call("validate", "my.csv").stderr
    for place in ("my.csv:2:2", "my.csv:3:1", "my.csv:3:3"):
        assert place in said


def test_another_file_under_the_same_name(here: Installation) -> None:
    spec("id,prompt\na,hi\nb,ho\n")(here)
    assert here.call("submit", "my.csv").returncode == 0
    spec("id,prompt\nc,next\nd,week\n")(here)
    done = here.call("submit", "my.csv")
    assert done.returncode == 2
    assert "--label" in done.stderr
    assert "--append" in done.stderr
    assert here.status("my")["total"] == 2


def test_removed_rows_that_still_wait(here: Installation) -> None:
    spec("id,prompt\na,hi\nb,ho\n")(here)
    assert here.call("submit", "my.csv").returncode == 0
    spec("id,prompt\na,hi\n")(here)
    refused = here.call("submit", "my.csv")
    assert refused.returncode == 2
    assert "--prune" in refused.stderr
    assert here.call("submit", "my.csv", "--prune").returncode == 0
    assert here.status("my")["total"] == 1


def test_no_key(here: Installation) -> None:
    spec("prompt\nhi\n")(here)
    here.extra["MINDVIDEO_API_KEY"] = ""
    done = here.call("run", "my.csv")
    assert done.returncode == 3
    assert "MINDVIDEO_API_KEY" in done.stderr


def test_an_unreachable_provider(here: Installation) -> None:
    spec("prompt\nhi\n")(here)
    done = here.call("run", "my.csv")
    assert done.returncode == 3
    assert "MINDVIDEO_BASE_URL" in done.stderr
    assert "Traceback" not in done.stderr
    assert here.call("batches", "--json").stdout.strip() == "[]"


def test_an_unreachable_broker(here: Installation) -> None:
    spec("prompt\nhi\n")(here)
    here.extra["ORCHESTRATOR_BROKER_URL"] = "redis://127.0.0.1:9/0"
    done = here.call("run", "my.csv")
    assert done.returncode == 3
    assert "ORCHESTRATOR_BROKER_URL" in done.stderr
    assert here.call("batches", "--json").stdout.strip() == "[]"


def test_a_mistyped_address_does_not_bind_a_batch_of_which_nothing_was_sent(
    here: Installation,
) -> None:
    spec("prompt\nhi\n")(here)
    assert here.call("submit", "my.csv").returncode == 0
    moved = replace(here, base_url="http://127.0.0.1:10/api/v1")
    assert moved.call("submit", "my.csv").returncode == 0


def test_what_other_batches_have_waiting_is_said_before_it_is_sent(here: Installation) -> None:
    spec("prompt\nhi\n")(here)
    assert here.call("submit", "my.csv", "--name", "monday").returncode == 0
    said = here.call("run", "my.csv", "--name", "tuesday").stderr
    assert "monday@default has 1 row waiting" in said
    assert "tuesday" not in said


def test_a_question_is_asked_although_the_output_goes_into_a_file(here: Installation) -> None:
    spec("prompt\nhi\n")(here)
    answers, terminal = pty.openpty()
    os.write(answers, b"n\n")
    process = subprocess.Popen(
        [*COMMAND, "submit", "my.csv"],
        cwd=here.folder,
        env=here.env,
        stdin=terminal,
        stdout=subprocess.DEVNULL,
        stderr=terminal,
    )
    assert process.wait(60) == 0
    os.close(terminal)
    assert b"Send 1 new row" in os.read(answers, 10_000)
    os.close(answers)
    assert here.call("batches", "--json").stdout.strip() == "[]"


def test_a_variable_that_no_setting_reads(here: Installation) -> None:
    spec("prompt\nhi\n")(here)
    (here.folder / ".env").write_text("ORCHESTRATOR_NAMSPACE=x\n")
    done = here.call("submit", "my.csv")
    assert done.returncode == 0
    assert "did you mean ORCHESTRATOR_NAMESPACE?" in done.stderr


def test_an_env_file_with_a_line_that_is_no_assignment(here: Installation) -> None:
    (here.folder / ".env").write_text("ORCHESTRATOR_NAMESPACE=x\nA B\n")
    done = here.call("batches")
    assert done.returncode == 3
    assert ".env:2" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ([], "Usage: orchestrator"),
        (["history", "my"], "`orchestrator history --help`"),
        (["frobnicate"], "No such command"),
        (["results", "my", "--format", "xml"], "is not one of 'table'"),
    ],
)
def test_a_command_line_that_is_none(here: Installation, arguments: list[str], wanted: str) -> None:
    done = here.call(*arguments)
    assert done.returncode == 2
    assert wanted in done.stderr
    assert "Value error" not in done.stderr


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("ORCHESTRATOR_DATABASE_URL", "postgres:/nonsense"),
        ("ORCHESTRATOR_DATABASE_URL", "mysql://host/db"),
        ("ORCHESTRATOR_BROKER_URL", "amqp://host"),
        ("ORCHESTRATOR_BROKER_URL", "redis://host:port"),
        ("MINDVIDEO_BASE_URL", "http://example.com/api"),
        ("MINDVIDEO_BASE_URL", "not a url"),
        ("ORCHESTRATOR_KEY_RETENTION", "a day"),
        ("ORCHESTRATOR_REQUESTS_PER_SECOND", "-1"),
    ],
)
def test_a_setting_that_does_not_parse(here: Installation, variable: str, value: str) -> None:
    spec("prompt\nhi\n")(here)
    here.extra[variable] = value
    done = here.call("run", "my.csv")
    assert done.returncode == 3, done.stderr
    assert variable in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unreachable_database(here: Installation) -> None:
    spec("prompt\nhi\n")(here)
    here.extra["ORCHESTRATOR_DATABASE_URL"] = "postgresql+psycopg://nobody:secret@127.0.0.1:9/none"
    done = here.call("submit", "my.csv")
    assert done.returncode == 3
    assert "ORCHESTRATOR_DATABASE_URL" in done.stderr
    assert "secret" not in done.stderr


def test_a_newer_database(here: Installation) -> None:
    spec("prompt\nhi\n")(here)
    assert here.call("submit", "my.csv").returncode == 0
    store = Store(f"sqlite:///{here.folder / 'data' / 'orchestrator.db'}")
    with store.write() as tx:
        tx.conn.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
        tx.conn.exec_driver_sql("UPDATE schema_floor SET revision = '9998'")
    assert schema.current(store) == "9999"
    store.close()
    done = here.call("status", "my")
    assert done.returncode == 3
    assert "newer" in done.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_data_directory_without_permission(here: Installation) -> None:
    spec("prompt\nhi\n")(here)
    (here.folder / "data").mkdir(mode=0o500)
    done = here.call("submit", "my.csv")
    assert done.returncode == 3
    assert "ORCHESTRATOR_DATA_DIR" in done.stderr


def test_a_data_directory_that_cannot_be(here: Installation) -> None:
    """A file stands where a folder of its path should be: nobody may write there, root included."""
    spec("prompt\nhi\n")(here)
    (here.folder / "file").write_text("")
    here.extra["ORCHESTRATOR_DATA_DIR"] = str(here.folder / "file" / "data")
    done = here.call("submit", "my.csv")
    assert done.returncode == 3
    assert "ORCHESTRATOR_DATA_DIR" in done.stderr


def test_no_such_batch(here: Installation) -> None:
    spec("prompt\nhi\n")(here)
    assert here.call("submit", "my.csv", "--name", "launch").returncode == 0
    done = here.call("status", "lunch")
    assert done.returncode == 2
    assert "launch@default" in done.stderr


def test_an_option_that_does_not_exist_yet(here: Installation) -> None:
    spec("prompt\nhi\n")(here)
    assert here.call("submit", "my.csv", "--express", "3").returncode == 2


def test_a_port_that_is_taken(here: Installation) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = here.call("sandbox", "serve", "--port", port, "--state", "sandbox.db")
    assert done.returncode == 3
    assert "--port" in done.stderr
