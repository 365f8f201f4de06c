"""The sandbox over a real socket."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import av
import httpx
import pytest

from tests.support.installation import until
from tests.support.sandbox import KEY, Sandbox, sandbox

AUTH = {"Authorization": f"Bearer {KEY}"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with sandbox(tmp_path_factory.mktemp("server"), "--median", "0.2", "--queue", "0.1") as running:
        yield running


@pytest.fixture(autouse=True)
def _no_faults(server: Sandbox) -> None:
    server.faults()


def submit(server: Sandbox, key: str | None, **given: object) -> httpx.Response:
    headers = AUTH | ({"Idempotency-Key": key} if key else {})
    body = {"model": "kling-v2-6", "input": {"prompt": f"for {key}"} | given}
    return httpx.post(f"{server.base_url}/tasks", json=body, headers=headers)


def read(server: Sandbox, task_id: str) -> httpx.Response:
    return httpx.get(f"{server.base_url}/tasks/{task_id}", headers=AUTH)


def ended(server: Sandbox, task_id: str) -> dict[str, object]:
    until(lambda: read(server, task_id).json()["status"] in {"succeeded", "failed"})
    found: dict[str, object] = read(server, task_id).json()
    return found


def test_a_replay_is_the_same_task_and_no_second_charge(server: Sandbox) -> None:
    first = submit(server, "replay")
    charges = server.charges
    task_id = first.json()["task_id"]
    done = ended(server, task_id)
    again = submit(server, "replay")
    assert again.json() == done
    assert done["cost_actual"] == 0.0414
    assert server.charges == charges
    assert submit(server, "replay", prompt="other").status_code == 409
    assert server.charges == charges


@pytest.mark.parametrize(
    ("size", "seconds", "audio", "shape"),
    [("16:9", 5, False, 16 / 9), ("9:16", 10, True, 9 / 16), ("1:1", 5, True, 1.0)],
)
def test_outputs_play(server: Sandbox, size: str, seconds: int, audio: bool, shape: float) -> None:
    mode = "pro" if audio else "std"
    made = submit(server, f"play {size}", size=size, duration=seconds, audio=audio, mode=mode)
    output = ended(server, made.json()["task_id"])["output"]
    url = output["videos"][0]["url"]  # type: ignore[index]
    whole = httpx.get(url)
    assert whole.headers["content-type"] == "video/mp4"
    with av.open(io.BytesIO(whole.content)) as clip:
        video = clip.streams.video[0]
        assert video.width / video.height == pytest.approx(shape)
        assert sum(1 for _ in clip.decode(video)) == seconds * 5
        assert len(clip.streams.audio) == int(audio)
    part = httpx.get(url, headers={"Range": "bytes=100-199"})
    assert part.status_code == 206
    assert part.content == whole.content[100:200]
    assert httpx.get(url, headers={"Range": "bytes=9999999-"}).status_code == 416


def test_outputs_are_unique(server: Sandbox) -> None:
    urls = []
    for key in ("unique a", "unique b"):
        output = ended(server, submit(server, key).json()["task_id"])["output"]
        urls.append(output["videos"][0]["url"])  # type: ignore[index]
    first, second = (httpx.get(url).content for url in urls)
    assert first != second


def test_keys_are_created_disabled_enabled_and_deleted(server: Sandbox) -> None:
    def keys(*arguments: str) -> str:
        command = [sys.executable, "-m", "orchestrator", "sandbox", "keys", *arguments]
        command += ["--state", str(server.state)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    made = json.loads(keys("create", "--name", "second", "--json"))
    auth = {"Authorization": f"Bearer {made['key']}"}
    url = f"{server.base_url}/tasks/none"
    assert httpx.get(url, headers=auth).status_code == 404
    keys("disable", made["id"])
    assert httpx.get(url, headers=auth).status_code == 401
    keys("enable", made["id"])
    assert httpx.get(url, headers=auth).status_code == 404
    assert made["key"] not in keys("list")
    assert made["key"].encode() not in server.state.read_bytes()
    keys("delete", made["id"])
    assert httpx.get(url, headers=auth).status_code == 401


def test_errors_are_json(server: Sandbox) -> None:
    for answer in (
        httpx.get(f"{server.base_url}/tasks/x"),
        read(server, "nowhere"),
        submit(server, None, duration=7),
        httpx.get(f"{server.root}/elsewhere"),
    ):
        assert answer.status_code in {401, 404, 422}
        assert answer.json()["error"]["message"]


def test_kill_nine_forgets_nothing(tmp_path: Path) -> None:
    with sandbox(tmp_path) as first:
        made = [submit(first, f"k{i}").json()["task_id"] for i in range(20)]
        os.kill(first.process.pid, signal.SIGKILL)
        first.process.wait()
    with sandbox(tmp_path) as second:
        assert second.charges == 20
        assert [submit(second, f"k{i}").json()["task_id"] for i in range(20)] == made
        assert second.charges == 20


def test_slots_run_one_after_the_other(tmp_path: Path) -> None:
    with sandbox(tmp_path, "--slots", "1", "--median", "3600", "--spread", "0") as one:
        tasks = [submit(one, f"slot {i}").json()["task_id"] for i in range(3)]
        until(lambda: read(one, tasks[0]).json()["status"] == "processing")
        assert [read(one, task).json()["status"] for task in tasks[1:]] == ["queued", "queued"]


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("error_500", 500),
        ("error_503", 503),
        ("rate_limit_429", 429),
        ("reject_422", 422),
        ("unauthorized_401", 401),
        ("payment_402", 402),
        ("forbidden_403", 403),
        ("not_found_404", 404),
        ("conflict_409", 409),
    ],
)
def test_faults_before_the_charge(server: Sandbox, kind: str, status: int) -> None:
    before = server.charges
    server.faults({"on": "submit", "kind": kind, "count": 1, "retry_after": "7"})
    answer = submit(server, kind)
    assert answer.status_code == status
    assert answer.headers["retry-after"] == "7"
    assert server.charges == before
    assert submit(server, kind).is_success


@pytest.mark.parametrize("kind", ["error_502_after_commit", "error_503_after_commit"])
def test_errors_after_the_charge(server: Sandbox, kind: str) -> None:
    before = server.charges
    server.faults({"on": "submit", "kind": kind, "count": 1})
    assert submit(server, kind).status_code in {502, 503}
    assert server.charges == before + 1
    assert submit(server, kind).is_success
    assert server.charges == before + 1


def test_a_lost_answer(server: Sandbox) -> None:
    before = server.charges
    server.faults({"on": "submit", "kind": "lost_answer_after_commit", "count": 1})
    with pytest.raises(httpx.RemoteProtocolError):
        submit(server, "lost")
    assert server.charges == before + 1


@pytest.mark.parametrize("kind", ["garbage", "truncated", "empty"])
def test_unreadable_answers(server: Sandbox, kind: str) -> None:
    server.faults({"on": "submit", "kind": f"{kind}_after_commit", "count": 1})
    answer = submit(server, f"unreadable {kind}")
    assert answer.is_success
    with pytest.raises(ValueError, match=r".*"):
        answer.json()


def test_oddities_of_a_task(server: Sandbox) -> None:
    task_id = submit(server, "odd").json()["task_id"]
    ended(server, task_id)
    for kind, check in {
        "no_cost": lambda shape: "cost_actual" not in shape,
        "bad_cost": lambda shape: shape["cost_actual"] == "NaN",
        "cost_above_estimate": lambda shape: shape["cost_actual"] == 0.0828,
        "no_output": lambda shape: shape["output"]["videos"] == [],
        "several_videos": lambda shape: len(shape["output"]["videos"]) == 2,
        "stuck": lambda shape: shape["status"] == "processing",
    }.items():
        server.faults({"on": "poll", "kind": kind})
        assert check(read(server, task_id).json()), kind
    server.faults({"on": "poll", "kind": "late_reads", "seconds": 3600})
    assert read(server, task_id).status_code == 404


def test_events_say_what_happened(server: Sandbox) -> None:
    task_id = submit(server, "events").json()["task_id"]
    ended(server, task_id)
    events = httpx.get(f"{server.base_url}/tasks/{task_id}/events", headers=AUTH).json()["events"]
    assert [event["status"] for event in events] == ["queued", "processing", "succeeded"]


def test_the_openapi_document_names_what_is_served(server: Sandbox) -> None:
    found = httpx.get(f"{server.root}/openapi.json").json()
    assert set(found["paths"]) == {"/tasks", "/tasks/{task_id}", "/tasks/{task_id}/events"}
