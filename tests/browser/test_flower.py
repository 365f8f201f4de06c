"""Batches in Flower, as a person sees them in a browser."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Error, Locator, Page, expect

from tests.support.installation import Installation, until
from tests.support.sandbox import Sandbox, sandbox
from tests.support.zygote import Running


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with sandbox(
        tmp_path_factory.mktemp("provider"), "--median", "4", "--spread", "0.1"
    ) as running:
        yield running


@contextmanager
def up(here: Installation) -> Iterator[dict[str, str]]:
    """{"url", "credentials"} of its Flower."""
    process: Running = here.start("up", "--json")
    try:
        assert process.stdout is not None
        first = next(line for line in process.stdout if line.startswith("{"))
        yield json.loads(first)["flower"]
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)


def visitor(browser: Browser, flower: dict[str, str]) -> Page:
    user, _, password = flower["credentials"].partition(":")
    return browser.new_context(http_credentials={"username": user, "password": password}).new_page()


def row(page: Page, flower: dict[str, str], state: str) -> Locator:
    """The batch's row in the task list, once it is in this state."""
    wanted = page.locator("tr", has_text="batch:shown@default").filter(has_text=re.compile(state))

    def there() -> bool:
        try:
            page.goto(f"{flower['url']}/tasks")
            wanted.wait_for(timeout=1000)
        except Error:  # Flower may still be starting, or the row elsewhere.
            return False
        return True

    until(there)
    return wanted


def test_a_batch_moves_from_progress_to_success(
    tmp_path: Path, provider: Sandbox, browser: Browser
) -> None:
    here = Installation(tmp_path, provider.base_url, {"ORCHESTRATOR_FLOWER_PORT": "0"})
    with up(here) as flower:
        page = visitor(browser, flower)
        assert here.call("submit", here.prompts("shown.csv", 8)).returncode == 0
        expect(row(page, flower, "PROGRESS")).to_contain_text("/8 done")
        assert here.call("watch", "shown", "--exit-status").returncode == 0
        ended = row(page, flower, "SUCCESS")
        expect(ended).to_contain_text("8/8 done, $0.3312")
        ended.get_by_role("link").first.click()
        expect(page.locator("body")).to_contain_text("batch:shown@default")

        stranger = browser.new_context().new_page()
        with pytest.raises(Error, match="INVALID_AUTH_CREDENTIALS"):
            stranger.goto(f"{flower['url']}/tasks")

    with up(here) as flower:
        again = row(visitor(browser, flower), flower, "SUCCESS")
        expect(again).to_contain_text("8/8 done, $0.3312")
