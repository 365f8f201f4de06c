"""Saving videos: real database, files and sockets; the provider is a function, its files lie on a
server that lets down in every way that one does."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from orchestrator.domain.naming import DEFAULT_TEMPLATE, Template
from orchestrator.domain.outcome import Accepted, AskLater, Detail, PollOutcome, Task, TaskStatus
from orchestrator.errors import UsageError
from orchestrator.provider.video import VideoClient
from orchestrator.services.downloading import PAGE, WAITING, Downloader, Report
from orchestrator.services.targets import Target, alone, open_target
from orchestrator.store import downloads, views
from orchestrator.store.batches import Batch
from tests.support.cdn import Cdn, cdn
from tests.support.shop import Shop, accept


@pytest.fixture
def files() -> Iterator[Cdn]:
    with cdn() as running:
        yield running


@pytest.fixture
def shop(tmp_path: Path, broker: str) -> Shop:
    return Shop(tmp_path, broker, accept)


def bought(shop: Shop, files: Cdn, number: int, *, lifetimes: list[int] | None = None) -> Batch:
    """A batch of which each row has its video at `/<row key>.mp4`."""

    async def answer(request: httpx.Request) -> httpx.Response:
        row = request.content.decode().partition("a kettle ")[2].partition('"')[0]
        url = f"{files.root}/r{row}.mp4"
        if lifetimes is not None:
            url += f"?expires={2_000_000_000 + lifetimes[int(row)]}"
        shape = {"request_id": "req", "task_id": f"task_{row}", "cost_estimate": 0.04}
        done = {"status": "succeeded", "cost_actual": 0.04, "output": {"videos": [{"url": url}]}}
        return httpx.Response(200, json=shape | done)

    shop.answer = answer
    batch = shop.submit(number)
    shop.buy(shop.due(batch))
    return batch


def save(
    shop: Shop,
    batch: Batch,
    folder: Path | str,
    *,
    ask: Callable[[str], PollOutcome] = lambda _: AskLater(Detail()),
    at_once: int = 3,
    template: str = DEFAULT_TEMPLATE,
    page: int = PAGE,
    waiting: int = WAITING,
) -> Report:
    async def asked(_account: str, task_id: str) -> PollOutcome:
        return ask(task_id)

    async def run() -> Report:
        client = VideoClient(read_seconds=2, allow_private=False, trusted="127.0.0.1")
        target = open_target(str(folder), shop.folder / "work")
        names = Template(template, ("id", "prompt"))
        try:
            downloader = Downloader(
                shop.context,
                batch,
                target,
                names,
                client,
                asked,
                at_once,
                page=page,
                waiting=waiting,
            )
            return await downloader.run(lambda: True)
        finally:
            await client.aclose()

    return asyncio.run(run())


def everything_is_there(shop: Shop, batch: Batch, files: Cdn, number: int) -> None:
    with shop.store.read() as tx:
        rows = list(views.results(tx, batch.id))
    assert len(rows) == number
    for row in rows:
        assert row.video_path is not None
        content = files.content(f"/{row.row_key}.mp4")
        assert Path(row.video_path).read_bytes() == content


def test_each_is_fetched_once_and_a_second_time_is_none(
    shop: Shop, files: Cdn, tmp_path: Path
) -> None:
    batch = bought(shop, files, 8)
    report = save(shop, batch, tmp_path / "v")
    assert (report.saved, report.known, report.size) == (8, 0, 8 * files.size)
    everything_is_there(shop, batch, files, 8)
    assert sorted(path.name for path in (tmp_path / "v").iterdir()) == [
        f"{n + 1:05}-r{n}.mp4" for n in range(8)
    ]
    again = save(shop, batch, tmp_path / "v")
    assert (again.saved, again.known) == (0, 8)
    assert set(files.sent.values()) == {files.size}


def test_more_than_may_wait_at_once(shop: Shop, files: Cdn, tmp_path: Path) -> None:
    batch = bought(shop, files, 6)
    assert save(shop, batch, tmp_path / "v", at_once=1, page=2, waiting=2).saved == 6
    everything_is_there(shop, batch, files, 6)


def test_those_that_expire_soonest_go_first(shop: Shop, files: Cdn, tmp_path: Path) -> None:
    batch = bought(shop, files, 4, lifetimes=[400, 100, 300, 200])
    save(shop, batch, tmp_path / "v", at_once=1)
    assert files.order == ["/r1.mp4", "/r3.mp4", "/r2.mp4", "/r0.mp4"]


def test_what_breaks_off_goes_on_and_no_byte_comes_twice(
    shop: Shop, files: Cdn, tmp_path: Path
) -> None:
    batch = bought(shop, files, 3)
    files.cut["/r1.mp4"] = 4
    files.failing["/r2.mp4"] = 2
    assert save(shop, batch, tmp_path / "v").saved == 3
    everything_is_there(shop, batch, files, 3)
    assert set(files.sent.values()) == {files.size}


def test_a_dead_url_is_asked_for_anew_and_kept(shop: Shop, files: Cdn, tmp_path: Path) -> None:
    batch = bought(shop, files, 2)
    files.dead.add("/r0.mp4")
    fresh = f"{files.root}/fresh.mp4"
    asked: list[str] = []

    def ask(task_id: str) -> PollOutcome:
        asked.append(task_id)
        return Accepted(Task(task_id, TaskStatus.SUCCEEDED, "succeeded", videos=(fresh,)))

    assert save(shop, batch, tmp_path / "v", ask=ask).saved == 2
    assert asked == ["task_0"]
    with shop.store.read() as tx:
        first = next(iter(views.results(tx, batch.id)))
    assert first.video_urls == (fresh,)
    assert (tmp_path / "v" / "00001-r0.mp4").read_bytes() == files.content("/fresh.mp4")


def test_a_video_that_is_gone_for_good_is_said_to_be_and_may_come_back(
    shop: Shop, files: Cdn, tmp_path: Path
) -> None:
    batch = bought(shop, files, 2)
    files.dead.add("/r0.mp4")

    def ask(task_id: str) -> PollOutcome:
        urls = (f"{files.root}/r0.mp4",)
        return Accepted(Task(task_id, TaskStatus.SUCCEEDED, "succeeded", videos=urls))

    report = save(shop, batch, tmp_path / "v", ask=ask)
    assert (report.saved, report.lost, report.exit_code()) == (1, 1, 1)
    with shop.store.read() as tx:
        first = next(iter(views.results(tx, batch.id)))
    assert (first.error_code, first.actual_nanos) == ("output_lost", 40_000_000)
    files.dead.clear()
    back = save(shop, batch, tmp_path / "v")
    assert (back.saved, back.known, back.exit_code()) == (1, 1, 0)
    with shop.store.read() as tx:
        assert next(iter(views.results(tx, batch.id))).error_code is None


def test_without_an_answer_nothing_is_called_lost(shop: Shop, files: Cdn, tmp_path: Path) -> None:
    batch = bought(shop, files, 1)
    files.dead.add("/r0.mp4")
    report = save(shop, batch, tmp_path / "v")
    assert (report.lost, report.failed, report.exit_code()) == (0, 1, 1)
    files.dead.clear()
    assert save(shop, batch, tmp_path / "v").saved == 1


def test_a_deleted_file_is_fetched_again_and_a_foreign_one_is_left_alone(
    shop: Shop, files: Cdn, tmp_path: Path
) -> None:
    folder = tmp_path / "v"
    folder.mkdir()
    foreign = folder / "00001-r0.mp4"
    foreign.write_text("mine")
    batch = bought(shop, files, 2)
    save(shop, batch, folder)
    assert foreign.read_text() == "mine"
    assert (folder / "00001-r0~2.mp4").read_bytes() == files.content("/r0.mp4")
    (folder / "00001-r0~2.mp4").unlink()
    assert save(shop, batch, folder).saved == 1
    everything_is_there(shop, batch, files, 2)


def test_rows_of_one_name_get_files_of_their_own(shop: Shop, files: Cdn, tmp_path: Path) -> None:
    batch = bought(shop, files, 5)
    assert save(shop, batch, tmp_path / "v", template="{prompt:.8}.mp4").saved == 5
    everything_is_there(shop, batch, files, 5)


def test_a_death_between_record_and_rename_costs_no_second_fetch(
    shop: Shop, files: Cdn, tmp_path: Path
) -> None:
    batch = bought(shop, files, 1)
    target: Target = open_target(str(tmp_path / "v"), tmp_path / "work")
    content = files.content("/r0.mp4")
    with shop.store.write() as tx:
        (video,) = downloads.unsaved(tx, batch.id, target.name, downloads.START, 9)
        downloads.claim(tx, target.name, video, "a.mp4", "a.mp4")
        digest = hashlib.sha256(content).hexdigest()
        downloads.save(tx, target.name, video, size=len(content), sha256=digest)
    target.part("a.mp4").write_bytes(content)
    assert save(shop, batch, tmp_path / "v").known == 1
    assert (tmp_path / "v" / "a.mp4").read_bytes() == content
    assert files.sent == {}


def test_a_damaged_part_is_not_built_on(shop: Shop, files: Cdn, tmp_path: Path) -> None:
    batch = bought(shop, files, 1)
    content = files.content("/r0.mp4")
    digest = hashlib.sha256(content).hexdigest()
    target: Target = open_target(str(tmp_path / "v"), tmp_path / "work")
    with shop.store.write() as tx:
        (video,) = downloads.unsaved(tx, batch.id, target.name, downloads.START, 9)
        downloads.claim(tx, target.name, video, "00001-r0.mp4", "00001-r0.mp4")
        downloads.save(tx, target.name, video, size=len(content), sha256=digest)
    part = target.part("00001-r0.mp4")
    part.write_bytes(bytes(len(content) - 1))
    part.with_name(f"{part.name}.tag").write_text(f'"{digest}"\n{len(content)}')
    assert save(shop, batch, tmp_path / "v").saved == 1
    everything_is_there(shop, batch, files, 1)


def test_an_object_store_gets_whole_objects(shop: Shop, files: Cdn, tmp_path: Path) -> None:
    batch = bought(shop, files, 3)
    files.cut["/r1.mp4"] = 1
    assert save(shop, batch, f"file://{tmp_path / 'bucket'}").saved == 3
    names = sorted(path.name for path in (tmp_path / "bucket").iterdir())
    assert names == ["00001-r0.mp4", "00002-r1.mp4", "00003-r2.mp4"]
    assert (tmp_path / "bucket" / "00002-r1.mp4").read_bytes() == files.content("/r1.mp4")
    assert save(shop, batch, f"file://{tmp_path / 'bucket'}").known == 3
    assert not list((tmp_path / "work").rglob("*.part"))


def test_one_command_at_a_time_saves_to_a_place(tmp_path: Path) -> None:
    target = open_target(str(tmp_path / "v"), tmp_path / "work")
    second = alone(target, tmp_path / "work")
    with alone(target, tmp_path / "work"), pytest.raises(UsageError, match="another command"):
        second.__enter__()
    with alone(target, tmp_path / "work"):
        pass
