"""One trace from submit through polls to the result, whichever processes had a part in it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from orchestrator.telemetry.otlp import Otlp
from orchestrator.telemetry.spans import Place, Span, of_batch, of_purchase
from tests.support.collector import Collector, about, collector
from tests.support.installation import Installation
from tests.support.sandbox import KEY, sandbox


def test_the_places_of_a_trace_follow_from_its_key_alone() -> None:
    root, claim = of_purchase("key"), of_purchase("key", "claim 1")
    assert root.trace == claim.trace
    assert root.span != claim.span
    assert of_purchase("key") == root
    assert of_purchase("other").trace != root.trace
    assert of_batch("a", "bc") != of_batch("ab", "c")
    assert 0 < root.trace < 1 << 128
    assert 0 < root.span < 1 << 64


def test_spans_reach_a_collector_as_they_were_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    root, part = of_purchase("key"), of_purchase("key", "claim 1")
    with collector() as kept:
        emit = Otlp(kept.url, {"x-token": "t"})
        emit([Span("claim", part, root, 10.0, 11.5, {"orchestrator.try": 1})])
        emit([Span("purchase", root, None, 10.0, 20.0, failed=True, links=[of_batch("b")])])
        emit.close()
        emit([Span("late", part, root, 1.0, 2.0)])
    claim, purchase = sorted(kept.spans(), key=lambda span: str(span.name))
    assert (claim.name, purchase.name) == ("claim", "purchase")
    assert _place(claim) == part
    assert claim.parent_span_id == purchase.span_id
    assert (claim.start_time_unix_nano, claim.end_time_unix_nano) == (10 * 10**9, 115 * 10**8)
    assert purchase.parent_span_id == b""
    assert purchase.status.code == 2
    assert purchase.links[0].trace_id == of_batch("b").trace.to_bytes(16)
    assert kept.headers["x-token"] == "t"


def test_what_the_library_refuses_stops_no_purchase(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "-1")
    emit = Otlp("http://127.0.0.1:1", {})
    for _ in range(2):
        emit([Span("purchase", of_purchase("key"), None, 1.0, 2.0)])
    emit.close()
    assert [record.message for record in caplog.records] == ["no more traces from this process"]


def _place(span: Any) -> Place:
    return Place(int.from_bytes(span.trace_id), int.from_bytes(span.span_id))


def test_nothing_of_it_is_imported_where_it_is_off(tmp_path: Path) -> None:
    script = (
        "import sys, workers.tasks\n"
        "from orchestrator.cli.app import command_line\n"
        "command_line(None)\n"
        "from orchestrator.runtime import make_context, open_store\n"
        "from orchestrator.settings import load_settings\n"
        "context = make_context(load_settings(), open_store(load_settings()))\n"
        "assert context.spans is None\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry.exporter')]\n"
        "assert 'orchestrator.telemetry.otlp' not in sys.modules\n"
    )
    env = Installation(tmp_path, "http://127.0.0.1:1/api/v1").env
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120, env=env)


def test_a_row_has_one_trace_from_its_claim_to_its_end(tmp_path: Path) -> None:
    with collector() as kept, sandbox(tmp_path / "provider", "--median", "2.5") as provider:
        extra = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": kept.url,
            "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Basic%20c2VjcmV0",
        }
        here = Installation(tmp_path, provider.base_url, extra)
        provider.faults({"on": "submit", "kind": "error_502_after_commit", "count": 1})
        spec = here.prompts("traced.csv", 3)
        done = here.call("run", spec)
        assert done.returncode == 0, done.stderr
        rows = here.results("traced")
    assert kept.headers["authorization"] == "Basic c2VjcmV0"
    _looked_at(kept, rows)


def _looked_at(kept: Collector, rows: list[dict[str, object]]) -> None:
    traces = kept.traces()
    (intake,) = [span for span in kept.spans() if span.name == "intake"]
    purchases = {trace: spans for trace, spans in traces.items() if trace != intake.trace_id}
    assert len(purchases) == len(rows)
    tries = 0
    for row in rows:
        trace = of_purchase(str(row["idempotency_key"])).trace.to_bytes(16)
        spans = purchases[trace]
        (root,) = [span for span in spans if not span.parent_span_id]
        assert root.name == "purchase"
        assert all(span.parent_span_id == root.span_id for span in spans if span is not root)
        assert root.links[0].trace_id == intake.trace_id
        told = about(root)
        assert told["orchestrator.row"] == row["row_key"]
        assert told["orchestrator.cost_usd"] == row["cost_actual"]
        names = [span.name for span in spans]
        assert {"claim", "POST /tasks", "settle"} <= set(names)
        # Whose answer was lost may have been done by the time it was asked for again.
        assert "GET /tasks/{id}" in names or names.count("POST /tasks") == 2
        assert names.count("GET /tasks/{id}") <= 4, "polls without news are not told of"
        tries += names.count("POST /tasks")
    assert tries == len(rows) + 1, "the answer that was lost is there too"
    everything = b"".join(kept.raw)
    for secret in (KEY, "red kite", *(str(row["idempotency_key"]) for row in rows)):
        assert secret.encode() not in everything
