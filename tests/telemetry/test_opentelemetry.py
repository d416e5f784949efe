from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from prodkit import Runtime, telemetry
from prodkit.llm.events import LlmFinished

from .conftest import CANARY, Worked


class Sink:
    def __init__(self) -> None:
        self.reader, self.spans = InMemoryMetricReader(), InMemorySpanExporter()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self.spans))
        self.runtime = Runtime()
        self.exporter = telemetry.opentelemetry.install(
            runtime=self.runtime,
            meter_provider=MeterProvider([self.reader]),
            tracer_provider=self.tracers,
        )

    def points(self) -> dict[str, list[Any]]:
        data = self.reader.get_metrics_data()
        return {
            metric.name: list(metric.data.data_points)
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }


def test_events_feed_instruments_and_notes_on_the_current_span() -> None:
    sink = Sink()
    with sink.tracers.get_tracer("test").start_as_current_span("request"):
        sink.runtime.events.emit(Worked(what=f"import {CANARY}", seconds=0.2, size=3))
    assert sink.runtime.events.failures == 0
    points = sink.points()
    assert points["prodkit_test_works"][0].value == 1
    assert points["prodkit_test_work_seconds"][0].sum == 0.2
    assert points["prodkit_test_size"][0].value == 3
    (span,) = sink.spans.get_finished_spans()
    assert [event.name for event in span.events] == ["test.worked"]
    assert CANARY not in repr(points) + str(span.to_json())
    sink.exporter.close()
    sink.runtime.events.emit(Worked(what="later"))
    assert len(sink.points().get("prodkit_test_works", [])) <= 1


def test_a_model_call_follows_the_genai_conventions() -> None:
    sink = Sink()
    names = {
        "call_id": "c1", "operation": "create", "outcome": "ok", "model": "claude-haiku-5-5",
        "requested_model": "claude-sonnet-5-5", "attempts": 2, "duration": 1.5, "first_content": None,
        "usage": SimpleNamespace(input_tokens=100, output_tokens=20), "cost": 0.01, "stop_reason": "end_turn",
        "streamed": False, "cached": False,
    }  # fmt: skip
    import dataclasses

    fields = {each.name for each in dataclasses.fields(LlmFinished)}
    sink.runtime.events.emit(LlmFinished(**{key: value for key, value in names.items() if key in fields}))
    assert sink.runtime.events.failures == 0
    (span,) = sink.spans.get_finished_spans()
    assert span.name == "chat claude-sonnet-5-5"
    assert span.attributes is not None
    assert span.attributes["gen_ai.response.model"] == "claude-haiku-5-5"
    assert span.end_time is not None
    assert span.start_time is not None
    assert abs((span.end_time - span.start_time) / 1e9 - 1.5) < 0.01
    points = sink.points()
    assert points["gen_ai.client.operation.duration"][0].sum == 1.5
    kinds = {
        point.attributes["gen_ai.token.type"]: point.sum for point in points["gen_ai.client.token.usage"]
    }
    assert kinds == {"input": 100, "output": 20}
    sink.exporter.close()
