"""Metrics in Prometheus' text format."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from orchestrator.telemetry.families import PREFIX, Buckets, Family, Kind

CONTENT_TYPE = CONTENT_TYPE_LATEST


def render(families: Iterable[Family]) -> bytes:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Given(list(families)))
    return generate_latest(registry)


class _Given(Collector):
    def __init__(self, families: list[Family]) -> None:
        self._families = families

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        yield from map(_metric, self._families)


def _end(seconds: float) -> str:
    return "+Inf" if math.isinf(seconds) else str(seconds)


def _metric(family: Family) -> Metric:
    name = PREFIX + family.name
    labels = list(family.labels)
    if family.kind is Kind.HISTOGRAM:
        histogram = HistogramMetricFamily(name, family.help, labels=labels)
        for values, value in family.samples:
            if isinstance(value, Buckets):
                upto = [(_end(end), float(number)) for end, number in value.upto]
                histogram.add_metric(list(values), upto, value.total)
        return histogram
    kind = CounterMetricFamily if family.kind is Kind.COUNTER else GaugeMetricFamily
    metric = kind(name, family.help, labels=labels)
    for values, value in family.samples:
        if not isinstance(value, Buckets):
            metric.add_metric(list(values), value)
    return metric
