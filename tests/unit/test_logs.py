"""A line for each record, and no secret in any, however it got there."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Callable, Iterator

import pytest

from orchestrator.settings import load_settings
from orchestrator.telemetry import logs

KEY = "mv_live_0123456789abcdef"
PASSWORD = 'p@ss "wörd"'
Lines = Callable[[], list[str]]


@pytest.fixture(params=["text", "json"])
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def lines(form: str) -> Iterator[Lines]:
    root, hook = logging.getLogger(), sys.excepthook
    before = root.handlers, root.level
    stream = io.StringIO()
    logs.configure("info", form, [KEY, PASSWORD, "ab"], stream)
    yield lambda: stream.getvalue().splitlines()
    root.handlers, sys.excepthook = before[0], hook
    root.setLevel(before[1])
    logging.captureWarnings(capture=False)


def fail(error: Exception) -> None:
    raise error


def test_a_record_is_bound_to_its_work(lines: Lines, form: str) -> None:
    log = logging.getLogger("orchestrator.test")
    with logs.bound(batch="a b@default", chunk="c1"):
        with logs.bound(row="r1"):
            log.warning("lost\nline", extra=logs.about(task_id="t1"))
        log.info("after")
    log.debug("never")
    first, second = lines()
    if form == "json":
        record = json.loads(first)
        assert record["message"] == "lost\nline"
        assert record["level"] == "warning"
        wanted = {"batch": "a b@default", "chunk": "c1", "row": "r1", "task_id": "t1"}
        assert record | wanted == record
        assert "row" not in json.loads(second)
    else:
        said = 'orchestrator.test lost line | batch="a b@default" chunk=c1 row=r1 task_id=t1'
        assert first.endswith(said)
        assert second.endswith('after | batch="a b@default" chunk=c1')


def test_secrets_are_nowhere(lines: Lines) -> None:
    log = logging.getLogger("orchestrator.test")
    try:
        fail(ValueError(f"refused: {KEY}, {PASSWORD}"))
    except ValueError:
        log.exception("with %s", KEY, extra=logs.about(url=f"https://h/?k={KEY}"))
    log.error("postgresql://me:p%%40ss%%20%%22w%%C3%%B6rd%%22@host/db")
    log.error("redis://:unknown-secret@host:6379/0 and Authorization: Bearer unknown.token")
    log.error("about ab")
    text = "\n".join(lines())
    assert "refused" in text
    for secret in (KEY, PASSWORD, json.dumps(PASSWORD)[1:-1], "p%40ss", "unknown"):
        assert secret not in text
    assert "redis://:***@host:6379/0 and Authorization: Bearer ***" in text
    assert "about ab" in text, "what is short hides nothing"


def test_what_ends_a_process_is_a_record_too(lines: Lines, form: str) -> None:
    try:
        fail(RuntimeError(KEY))
    except RuntimeError as error:
        sys.excepthook(RuntimeError, error, error.__traceback__)
    found = lines()
    assert KEY not in "\n".join(found)
    assert len(found) == 1 or form == "text"
    assert "ended by an error" in found[0]


def test_the_settings_know_their_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {
        "MINDVIDEO_API_KEY": KEY,
        "MINDVIDEO_API_KEY_SECOND": "mv_live_second",
        "ORCHESTRATOR_DATABASE_URL": "postgresql://me:dbword@host/db",
        "ORCHESTRATOR_BROKER_URL": "redis://:brokerword@host/0",
        "FLOWER_BASIC_AUTH": "admin:flowerword",
        "ORCHESTRATOR_WEBHOOK_SECRET": "whsec_c2VjcmV0",
        "ORCHESTRATOR_LOG_FORMAT": "JSON",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    known = {KEY, "mv_live_second", "dbword", "brokerword", "flowerword", "whsec_c2VjcmV0"}
    assert known <= set(settings.secrets())
    assert settings.log_format == "json"
    before = settings.digest()
    monkeypatch.setenv("ORCHESTRATOR_LOG_LEVEL", "debug")
    assert load_settings().digest() == before, "two who share processes may differ in this"
