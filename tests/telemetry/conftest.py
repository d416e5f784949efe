from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from prodkit import Runtime, telemetry
from prodkit.core.events import Event, Metric
from prodkit.core.secrets import REGISTRY

CANARY = "kq2vS1nGdJ0m4T8yRwZcLxHb7uEoPfA9"


@dataclass(frozen=True, slots=True, kw_only=True)
class Worked(Event):
    name = "test.worked"
    level = "WARNING"
    metric = (
        Metric("test_works", labels=("what",), help="Works."),
        Metric(
            "test_work_seconds", "histogram", labels=("what",), value="seconds", unit="seconds", help="Times."
        ),
        Metric("test_size", "gauge", value="size", help="Sizes."),
    )
    what: str
    seconds: float | None = None
    size: int | None = None


@pytest.fixture(autouse=True)
def _canary() -> Iterator[None]:
    REGISTRY.add(CANARY)
    yield
    REGISTRY.clear()


class Sink:
    def __init__(self) -> None:
        self.reader, self.spans = InMemoryMetricReader(), InMemorySpanExporter()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self.spans))
        self.runtime = Runtime()
        self.meters = MeterProvider([self.reader])
        self.exporter = telemetry.opentelemetry.install(
            runtime=self.runtime,
            meter_provider=self.meters,
            tracer_provider=self.tracers,
        )

    def points(self) -> dict[str, list[Any]]:
        data: Any = self.reader.get_metrics_data()
        return {
            metric.name: list(metric.data.data_points)
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }
