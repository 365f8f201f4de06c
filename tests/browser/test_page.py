"""`results --html` in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from orchestrator.domain.batch import BatchState
from orchestrator.domain.states import State
from orchestrator.services.exporting import page as written
from orchestrator.services.pricing import Estimate
from orchestrator.services.status import BatchStatus
from orchestrator.store import batches
from orchestrator.store.engine import Store
from orchestrator.store.views import Result
from tests.support.installation import Installation, until
from tests.support.sandbox import Sandbox, sandbox

HOSTILE = '</script><img src=x onerror=alert(1)><!-- & \u2028 "quoted"'


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with sandbox(tmp_path_factory.mktemp("provider"), "--median", "0.3") as running:
        yield running


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory, provider: Sandbox) -> Installation:
    made = Installation(tmp_path_factory.mktemp("here"), provider.base_url)
    provider.faults({"on": "submit", "kind": "reject_422", "match": "a storm"})
    rows = [
        ["id", "Prompt", "size"],
        ["kite", "A red kite over a green hill", "16:9"],
        ["rain", "A silver car in neon rain", "9:16"],
        ["storm", "a storm that is refused", "1:1"],
        ["odd", HOSTILE, "16:9"],
    ]
    spec = made.write("look.csv", rows)
    assert made.call("run", spec, "--download", "site/videos").returncode == 1
    assert made.call("results", "look", "--html", "site", "-o", "other.csv").returncode == 2
    done = made.call("results", "look", "--html", "site")
    assert done.returncode == 0, done.stderr
    return made


def opened(page: Page, file: Path) -> list[str]:
    """The page, and the list that hears of every dialog and error."""
    wrong: list[str] = []
    page.on("dialog", lambda dialog: (wrong.append(dialog.message), dialog.dismiss()))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(file.as_uri())
    return wrong


def test_a_batch_is_looked_at(here: Installation, page: Page) -> None:
    wrong = opened(page, here.folder / "site" / "index.html")
    expect(page.locator("h1")).to_contain_text("look@default")
    expect(page.locator(".totals")).to_contain_text("3 of 4")
    expect(page.locator(".totals")).to_contain_text("$0.1242")
    expect(page.locator(".causes")).to_contain_text("orchestrator retry look@default")
    expect(page.locator("article")).to_have_count(4)
    expect(page.get_by_text(HOSTILE.replace("\u2028", " ")[:30])).to_be_visible()
    assert wrong == []


def test_the_saved_videos_play(here: Installation, page: Page) -> None:
    opened(page, here.folder / "site" / "index.html")
    expect(page.locator("video")).to_have_count(3)
    source = page.locator("video").first.get_attribute("src")
    assert source == "videos/00001-kite.mp4"
    until(lambda: page.evaluate("document.querySelector('video').currentTime") > 0.2)


def test_filter_and_search_need_no_server(here: Installation, page: Page) -> None:
    opened(page, here.folder / "site" / "index.html")
    page.get_by_role("button", name="rejected 1").click()
    expect(page.locator("article")).to_have_count(1)
    expect(page.locator("article")).to_contain_text("a storm")
    page.get_by_role("button", name="all 4").click()
    page.keyboard.press("/")
    page.keyboard.type("NEON car")
    expect(page.locator("article")).to_have_count(1)
    expect(page.locator("#found")).to_have_text("1 of 4")
    page.get_by_role("searchbox").fill("nothing like it")
    expect(page.get_by_text("Nothing fits.")).to_be_visible()


def results(number: int) -> Iterator[Result]:
    absent = dict.fromkeys(Result.__dataclass_fields__)
    for n in range(1, number + 1):
        given = {
            "position": n,
            "row_key": f"r{n}",
            "state": State.SUCCEEDED,
            "source": {"prompt": f"take {n} of a kite"},
            "video_urls": (f"http://127.0.0.1:9/{n}.mp4",),
            "actual_nanos": 41_400_000,
        }
        yield Result(**(absent | given))  # type: ignore[arg-type]


def test_thousands_of_videos_stay_usable(here: Installation, page: Page, tmp_path: Path) -> None:
    store = Store(f"sqlite:///{here.folder / 'data' / 'orchestrator.db'}")
    with store.read() as tx:
        batch = batches.find(tx, "look", "default")
    store.close()
    assert batch is not None
    counts = dict.fromkeys(State, 0) | {State.SUCCEEDED: 5000}
    now = BatchStatus(batch, BatchState.FINISHED, counts, {}, None, 0, 0, None, 0, Estimate(0, 0))
    file = tmp_path / "index.html"
    file.write_text("".join(written(now, [], results(5000), tmp_path)))
    assert opened(page, file) == []
    expect(page.locator("#found")).to_have_text("5,000 of 5,000")
    assert page.locator("article").count() <= 240

    def further() -> bool:
        page.evaluate("scrollTo(0, document.body.scrollHeight)")
        return page.locator("article").count() >= 400

    until(further)
    assert page.locator("video").count() <= 60
    page.get_by_role("searchbox").fill("take 4999")
    expect(page.locator("article")).to_have_count(1)
