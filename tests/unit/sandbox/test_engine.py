"""The sandbox's decisions: fates, prices, faults, ranges."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal

import pytest

from orchestrator.sandbox.engine import Behaviour, Status, fate, status_at
from orchestrator.sandbox.faults import KINDS, Fault, FaultError, Faults, parse
from orchestrator.sandbox.media import byte_range
from orchestrator.sandbox.schema import DEFAULTS, InvalidRequestError, price, read_task


def test_a_fate_depends_on_seed_and_name_alone() -> None:
    behaviour = Behaviour(seed=3, failure_rate=0.2, cancel_rate=0.1)
    fates = [fate(behaviour, f"key-{i}") for i in range(2000)]
    assert fates == [fate(behaviour, f"key-{i}") for i in range(2000)]
    assert fates != [fate(Behaviour(seed=4, failure_rate=0.2), f"key-{i}") for i in range(2000)]
    ends = Counter(one.end for one in fates)
    assert 320 < ends[Status.FAILED] < 480
    assert 140 < ends[Status.CANCELLED] < 260


def test_speed_shortens_everything() -> None:
    slow, fast = fate(Behaviour(), "a"), fate(Behaviour(speed=10), "a")
    assert fast.run == pytest.approx(slow.run / 10)
    assert fast.queue == pytest.approx(slow.queue / 10)


def test_a_task_is_queued_then_processing_then_at_its_end() -> None:
    seen = [status_at(now, 1.0, 2.0, Status.FAILED) for now in (0.5, 1.0, 1.9, 2.0)]
    assert seen == [Status.QUEUED, Status.PROCESSING, Status.PROCESSING, Status.FAILED]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "0.0414"),
        ({"duration": 10}, "0.0828"),
        ({"mode": "pro"}, "0.0828"),
        ({"mode": "pro", "duration": 10, "audio": True}, "0.2484"),
    ],
)
def test_prices_are_exact(given: dict[str, object], expected: str) -> None:
    assert price(DEFAULTS | given) == Decimal(expected)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"[]", 422),
        (b'{"model":"other","input":{"prompt":"x"}}', 404),
        (b'{"model":"kling-v2-6","input":{}}', 422),
        (b'{"model":"kling-v2-6","input":{"prompt":""}}', 422),
        (b'{"model":"kling-v2-6","input":{"prompt":"x","duration":7}}', 422),
        (b'{"model":"kling-v2-6","input":{"prompt":"x","duration":true}}', 422),
        (b'{"model":"kling-v2-6","input":{"prompt":"x","audio":true}}', 422),
        (b'{"model":"kling-v2-6","input":{"prompt":"x","promt":"x"}}', 422),
        (b'{"model":"kling-v2-6","input":{"prompt":"x","seed":-1}}', 422),
        (b'{"model":"kling-v2-6","input":{"prompt":"x","cfg_scale":1.5}}', 422),
        (b'{"model":"kling-v2-6","input":{"prompt":"x","image_urls":["a","b"]}}', 422),
    ],
)
def test_what_the_schema_refuses(body: bytes, status: int) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        read_task(body)
    assert refused.value.status == status


def test_faults_are_drawn_from_the_seed_and_counted() -> None:
    faults = Faults(1, [Fault("submit", "error_500", rate=0.5, count=10)])
    met = [faults.meet("submit", f"k{i}", "") is not None for i in range(100)]
    again = Faults(1, [Fault("submit", "error_500", rate=0.5, count=10)])
    assert met == [again.meet("submit", f"k{i}", "") is not None for i in range(100)]
    assert sum(met) == 10
    assert faults.meet("poll", "k", "") is None


def test_a_fault_meets_only_the_prompts_it_is_for() -> None:
    faults = Faults(1, [Fault("submit", "forbidden_403", match="violence")])
    assert faults.meet("submit", "a", "a meadow") is None
    assert faults.meet("submit", "b", "violence") is not None


def test_faults_that_do_not_exist_are_refused() -> None:
    for text in ("submit:error_5OO", "poll:conflict_409", "submit:error_500:often"):
        with pytest.raises(FaultError):
            parse(text)
    assert all(parse(f"{where.split()[0]}:{kind}") for kind, where in KINDS.items())


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("bytes=0-9", (0, 9)),
        ("bytes=90-", (90, 99)),
        ("bytes=-10", (90, 99)),
        ("bytes=90-200", (90, 99)),
    ],
)
def test_ranges(header: str | None, expected: tuple[int, int] | None) -> None:
    assert byte_range(header, 100) == expected


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=9-1", "bytes=-", "lines=1-2"])
def test_bad_ranges(header: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        byte_range(header, 100)
