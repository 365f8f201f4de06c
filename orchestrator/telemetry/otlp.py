"""Sends spans to an OpenTelemetry collector over HTTP; imported only where one is configured."""

from __future__ import annotations

import atexit
import logging
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from orchestrator import __version__
from orchestrator.telemetry.spans import Place, Span

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.id_generator import IdGenerator
    from opentelemetry.trace import SpanContext

SERVICE = "video-batch-orchestrator"
_CLOSE_MS = 5_000
_log = logging.getLogger(__name__)


class Otlp:
    """Nothing is imported or started before the first span, so that a fork may come before it.

    Never raises and never waits: what a collector does not take in time is dropped.
    """

    def __init__(self, endpoint: str, headers: Mapping[str, str]) -> None:
        self._endpoint = endpoint.rstrip("/") + "/v1/traces"
        self._headers = dict(headers)
        self._lock = threading.Lock()
        self._ids: _Ids | None = None
        self._provider: TracerProvider | None = None
        self._off = False

    def __call__(self, spans: Sequence[Span]) -> None:
        with self._lock:
            try:
                if self._provider is None and not self._off:
                    self._start()
                for span in spans if self._provider is not None else ():
                    self._emit(span)
            except Exception:  # noqa: BLE001 purchases go on, whatever the library says of its settings
                self._off, self._provider = True, None
                _log.exception("no more traces from this process")

    def close(self) -> None:
        with self._lock:
            if self._provider is not None:
                self._provider.force_flush(_CLOSE_MS)
                self._provider.shutdown()
                self._provider = None
            self._off = True

    def _start(self) -> None:
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ModuleNotFoundError as error:
            self._off = True
            _log.warning(
                "OTEL_EXPORTER_OTLP_ENDPOINT is set, but %s is not installed: no traces. Install "
                "the extra: pip install 'video-batch-orchestrator[otel]'",
                error.name,
            )
            return
        self._ids = _Ids()
        resource = Resource.create({"service.version": __version__} | _service_name())
        provider = TracerProvider(resource=resource, id_generator=_generator(self._ids))
        exporter = OTLPSpanExporter(endpoint=self._endpoint, headers=self._headers)
        provider.add_span_processor(BatchSpanProcessor(exporter))
        self._provider = provider
        # Commands end without closing what they had.
        atexit.register(self.close)

    def _emit(self, span: Span) -> None:
        from opentelemetry import trace
        from opentelemetry.sdk.trace.sampling import Decision

        provider, ids = self._provider, self._ids
        if provider is None or ids is None:
            return
        # A trace is kept whole or not at all, whoever emits its parts.
        verdict = provider.sampler.should_sample(None, span.place.trace, span.name)
        if verdict.decision is Decision.DROP:
            return
        ids.place = span.place
        around = trace.set_span_in_context(trace.NonRecordingSpan(_context(span.parent)))
        made = provider.get_tracer(SERVICE, __version__).start_span(
            span.name,
            context=around
            if span.parent is not None
            else trace.set_span_in_context(trace.INVALID_SPAN),
            kind=trace.SpanKind.CLIENT if span.asks else trace.SpanKind.INTERNAL,
            attributes=dict(span.about),
            links=[trace.Link(_context(place)) for place in span.links],
            start_time=round(span.began * 1e9),
        )
        if span.failed:
            made.set_status(trace.StatusCode.ERROR)
        made.end(round(max(span.began, span.ended) * 1e9))


class _Ids:
    """The place of the span that is being made."""

    place = Place(1, 1)


def _generator(ids: _Ids) -> IdGenerator:
    from opentelemetry.sdk.trace import id_generator

    class Given(id_generator.IdGenerator):
        """Not drawn: told."""

        def generate_span_id(self) -> int:
            return ids.place.span

        def generate_trace_id(self) -> int:
            return ids.place.trace

    return Given()


def _context(place: Place | None) -> SpanContext:
    from opentelemetry import trace

    if place is None:
        return trace.INVALID_SPAN_CONTEXT
    sampled = trace.TraceFlags(trace.TraceFlags.SAMPLED)
    return trace.SpanContext(place.trace, place.span, is_remote=True, trace_flags=sampled)


def _service_name() -> dict[str, str]:
    import os

    named = os.environ.get("OTEL_SERVICE_NAME") or "service.name=" in os.environ.get(
        "OTEL_RESOURCE_ATTRIBUTES", ""
    )
    return {} if named else {"service.name": SERVICE}
