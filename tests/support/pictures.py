"""The pictures of the documentation, taken from a real run: `make pictures`."""

from __future__ import annotations

import json
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, sync_playwright
from rich.console import Console

from orchestrator.cli import following, screen
from orchestrator.runtime import open_runtime
from orchestrator.store import batches
from tests.browser.conftest import BROWSER, QUIET
from tests.support.installation import Installation, until
from tests.support.sandbox import KEY, sandbox

DOCS = Path(__file__).parents[2] / "docs"
SCENES = (
    "A silver sports car drives through neon-lit rain",
    "A red kite over a green hill in the wind",
    "Bread rises in an oven seen through its window",
    "Paper boats drift down a gutter after a storm",
    "A lighthouse beam sweeps over a calm sea at night",
    "A fox crosses a snowy street under lanterns",
)
ROWS = 120


def main() -> int:
    """Write docs/*.png and docs/watch.svg."""
    with tempfile.TemporaryDirectory(prefix="pictures") as place, browser_page() as page:
        folder = Path(place)
        with sandbox(folder / "provider", "--median", "6", "--failure-rate", "0.04") as provider:
            quiet = {"ORCHESTRATOR_FLOWER_PORT": "0", "FLOWER_BASIC_AUTH": "me:secret"}
            here = Installation(folder, provider.base_url, quiet)
            up = here.start("up", "--json")
            try:
                assert up.stdout is not None
                line = next(line for line in up.stdout if line.startswith("{"))
                flower = json.loads(line)["flower"]["url"]
                take(here, page, flower)
            finally:
                up.send_signal(signal.SIGINT)
                up.communicate()
    return 0


def take(here: Installation, page: Page, flower: str) -> None:
    rows = [["id", "prompt", "size", "duration"]]
    for n in range(ROWS):
        size = ("16:9", "9:16", "1:1")[n % 3]
        rows.append([f"r{n:03}", SCENES[n % len(SCENES)], size, "5"])
    here.call("submit", here.write("launch.csv", rows), "--budget", "25")
    until(lambda: done(here) > ROWS // 3)
    watch(here)
    page.goto(f"{flower}/tasks")
    page.get_by_text("batch:launch@default").first.wait_for()
    page.screenshot(path=DOCS / "flower-tasks.png")
    page.get_by_text("batch-", exact=False).first.click()
    page.get_by_text("batch:launch@default").first.wait_for()
    page.screenshot(path=DOCS / "flower-batch.png")
    here.call("watch", "launch")
    here.call("download", "launch", "-o", "site/videos")
    here.call("results", "launch", "--html", "site")
    page.goto((here.folder / "site" / "index.html").as_uri())
    until(lambda: page.evaluate("document.querySelector('video')?.currentTime > 1"))
    page.screenshot(path=DOCS / "results.png")


def done(here: Installation) -> int:
    counts = here.status("launch")["counts"]
    assert isinstance(counts, dict)
    return int(counts["succeeded"])


def watch(here: Installation) -> None:
    """The live screen as a drawing."""
    runtime = open_runtime(
        MINDVIDEO_API_KEY=KEY,
        MINDVIDEO_BASE_URL=here.base_url,
        ORCHESTRATOR_DATA_DIR=here.folder / "data",
        ORCHESTRATOR_JOURNAL_DIR=here.folder / "journal",
    )
    with runtime.context.store.read() as tx:
        batch = batches.find(tx, "launch", "default")
    assert batch is not None
    drawn = Console(record=True, width=88, file=sys.stderr)
    now = following.read(runtime, batch)
    drawn.print(screen.batch_screen(now, following.failures(runtime, batch)))
    drawn.save_svg(str(DOCS / "watch.svg"), title="orchestrator watch launch")
    runtime.close()


@contextmanager
def browser_page() -> Iterator[Page]:
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=BROWSER, args=list(QUIET))
        login = {"username": "me", "password": "secret"}
        context = browser.new_context(
            http_credentials=login, viewport={"width": 1440, "height": 720}
        )
        yield context.new_page()
        browser.close()


if __name__ == "__main__":
    sys.exit(main())
