"""OpenTelemetry: instruments and spans from the event stream.

Metrics carry the same names as in Prometheus. Calls to a language model also follow the GenAI semantic conventions
(``gen_ai.client.operation.duration``, ``gen_ai.client.token.usage``). An event with a duration becomes a span that
ended when the event was emitted; other events of WARNING and above become events of the current span.
:class:`ServerSpans` makes the spans of HTTP requests around them::

    request ─▶ ServerSpans ── SERVER span "POST /orders/{id}", current
                  └─ your app ─┬─ llm.finished ── llm.attempt   child spans
                               ├─ cache.loaded
                               └─ ResilientTransport            sends its traceparent
"""

from __future__ import annotations

import dataclasses
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from prodkit.core.events import Event, Metric
from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.errors import MissingExtraError
from prodkit.telemetry.catalogue import BUCKETS, MAX_SERIES, PREFIX, label, metrics_of
from prodkit.telemetry.server_spans import ServerSpans

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.metrics import Meter, MeterProvider
    from opentelemetry.trace import Span, Tracer, TracerProvider

__all__ = ["Exporter", "ServerSpans", "install"]

_SCOPE: Final = "prodkit"
_SEVERE: Final = ("WARNING", "ERROR")
_UNITS: Final = {"seconds": "s", "bytes": "By", "tokens": "{token}", "dollars": "{USD}", "": "1"}
# Events about one piece of work, and the field with its duration in seconds.
_SPANS: Final = {"llm.finished": "duration", "llm.attempt": "duration", "cache.loaded": "seconds"}
_MAX_CALLS: Final = 1_000
"""Calls to a model whose attempts wait for the call's end, and ended ones that are remembered for late attempts."""
_OPERATIONS: Final = {"create": "chat", "stream": "chat", "parse": "chat"}


def install(
    *,
    runtime: Runtime = SYSTEM,
    meter_provider: MeterProvider | None = None,
    tracer_provider: TracerProvider | None = None,
) -> Exporter:
    """Feed OpenTelemetry from the events of `runtime`.

    Args:
        runtime: the runtime that the service's parts share.
        meter_provider: the provider of instruments; the global one when None.
        tracer_provider: the provider of spans; the global one when None.

    Returns:
        The exporter; ``close()`` ends it.

    Raises:
        MissingExtraError: opentelemetry is not installed.
    """
    try:
        from opentelemetry import metrics, trace
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("opentelemetry"):
            raise
        raise MissingExtraError.named("opentelemetry", "telemetry") from None
    meter = metrics.get_meter(_SCOPE, meter_provider=meter_provider)
    return Exporter(runtime, meter, trace.get_tracer(_SCOPE, tracer_provider=tracer_provider))


class Exporter:
    """The subscription that feeds instruments and spans. Made by :func:`install`.

    Args:
        runtime: the runtime whose events are exported.
        meter: makes the instruments.
        tracer: makes the spans.
    """

    def __init__(self, runtime: Runtime, meter: Meter, tracer: Tracer) -> None:
        self._meter, self._tracer = meter, tracer
        self._instruments: dict[str, Callable[[float, Mapping[str, str]], None]] = {}
        self._seen: dict[str, set[tuple[str, ...]]] = {}
        self._duration: Any = None
        self._tokens: Any = None
        # An attempt ends before its call does, so its span waits until there is a parent for it.
        self._attempts: OrderedDict[str, list[tuple[Any, int, Context]]] = OrderedDict()
        self._ended: OrderedDict[str, Context] = OrderedDict()
        self._unsubscribe = runtime.events.subscribe(self._on_event)

    def close(self) -> None:
        """Stop exporting; attempts of calls that have not ended become spans without them."""
        self._unsubscribe()
        while self._attempts:
            self._orphans()

    def _on_event(self, event: Event) -> None:
        for metric in metrics_of(type(event)):
            amount = getattr(event, metric.value) if metric.value else 1
            if amount is not None:
                self._record(metric, amount, event)
        if event.name == "llm.finished":
            self._generative(event)
        field = _SPANS.get(event.name)
        duration = getattr(event, field, None) if field else None
        if duration is not None:
            self._span(event, duration)
        elif event.level in _SEVERE:
            self._note(event)

    def _record(self, metric: Metric, amount: float, event: Event) -> None:
        record = self._instruments.get(metric.name)
        if record is None:
            record = self._instruments[metric.name] = _instrument(self._meter, metric)
        values = tuple(label(getattr(event, name)) for name in metric.labels)
        seen = self._seen.setdefault(metric.name, set())
        if values not in seen:
            if len(seen) >= MAX_SERIES:
                values = ("other",) * len(values)
            else:
                seen.add(values)
        record(amount, dict(zip(metric.labels, values, strict=True)))

    def _generative(self, event: Any) -> None:
        """The two metrics that every GenAI dashboard reads."""
        if self._duration is None:
            self._duration = self._meter.create_histogram(
                "gen_ai.client.operation.duration", unit="s", description="GenAI operation duration."
            )
            self._tokens = self._meter.create_histogram(
                "gen_ai.client.token.usage", unit="{token}", description="Tokens of a GenAI operation."
            )
        attributes = _conventions(event)
        if getattr(event, "duration", None) is not None:
            self._duration.record(event.duration, attributes)
        usage = getattr(event, "usage", None)
        for kind, field in (("input", "input_tokens"), ("output", "output_tokens")):
            count = getattr(usage, field, None)
            if isinstance(count, int):
                self._tokens.record(count, {**attributes, "gen_ai.token.type": kind})

    def _span(self, event: Any, duration: float) -> None:
        from opentelemetry import context, trace

        ended = time.time_ns()  # spans carry wall time
        if event.name == "llm.attempt":
            parent = self._ended.get(event.call_id)
            if parent is not None:  # a request that outlived its call, such as a hedge
                self._make(event, duration, ended, parent)
                return
            self._attempts.setdefault(event.call_id, []).append((event, ended, context.get_current()))
            if len(self._attempts) > _MAX_CALLS:
                self._orphans()
            return
        span = self._make(event, duration, ended, None)
        if event.name != "llm.finished":
            return
        below = trace.set_span_in_context(span)
        for attempt, when, _ in self._attempts.pop(event.call_id, ()):
            self._make(attempt, attempt.duration, when, below)
        self._ended[event.call_id] = below
        if len(self._ended) > _MAX_CALLS:
            self._ended.popitem(last=False)

    def _orphans(self) -> None:
        """Make the spans of the attempts that have waited longest for the end of their call."""
        _, waiting = self._attempts.popitem(last=False)
        for event, ended, where in waiting:
            self._make(event, event.duration, ended, where)

    def _make(self, event: Any, duration: float, ended: int, parent: Context | None) -> Span:
        """Return the span of an event: a child of `parent`, or of the current span."""
        from opentelemetry.trace import SpanKind, Status, StatusCode

        conventions = _conventions(event) if event.name.startswith("llm.") else {}
        model = conventions.get("gen_ai.request.model", "")
        span = self._tracer.start_span(
            f"{conventions['gen_ai.operation.name']} {model}".strip() if conventions else event.name,
            parent,
            kind=SpanKind.CLIENT,
            attributes={**conventions, **_attributes(event)},
            start_time=ended - int(duration * 1e9),
        )
        outcome = getattr(event, "outcome", "ok")
        if outcome not in ("ok", "cancelled", "neutral", None):
            span.set_status(Status(StatusCode.ERROR, label(outcome)))
        span.end(ended)
        return span

    def _note(self, event: Event) -> None:
        from opentelemetry import trace

        current = trace.get_current_span()
        if current.is_recording():
            current.add_event(event.name, _attributes(event))


def _instrument(meter: Meter, metric: Metric) -> Callable[[float, Mapping[str, str]], None]:
    name, unit, text = f"{PREFIX}{metric.name}", _UNITS.get(metric.unit, metric.unit), metric.help
    if metric.kind == "counter":
        return meter.create_counter(name, unit=unit, description=text).add
    if metric.kind == "gauge":
        return meter.create_gauge(name, unit=unit, description=text).set
    buckets = list(BUCKETS.get(metric.unit, BUCKETS[""]))
    histogram = meter.create_histogram(
        name, unit=unit, description=text, explicit_bucket_boundaries_advisory=buckets
    )
    return histogram.record


def _conventions(event: Any) -> dict[str, str]:
    """Attributes of the GenAI semantic conventions that the event can answer."""
    operation = str(getattr(event, "operation", "") or "create")
    found = {
        "gen_ai.operation.name": _OPERATIONS.get(operation, "chat"),
        "gen_ai.provider.name": "anthropic",
        "gen_ai.request.model": label(
            getattr(event, "requested_model", None) or getattr(event, "model", None)
        ),
        "gen_ai.response.model": label(getattr(event, "model", None)),
    }
    outcome = getattr(event, "outcome", None)
    if outcome not in ("ok", None):
        found["error.type"] = label(getattr(event, "error_type", None) or outcome)
    return {name: value for name, value in found.items() if value}


def _attributes(event: Event) -> dict[str, str | bool | int | float]:
    """The event's fields as attributes: numbers as they are, everything else as redacted text."""
    found: dict[str, str | bool | int | float] = {}
    for each in dataclasses.fields(event):
        value = getattr(event, each.name)
        if isinstance(value, bool | int | float):
            found[f"prodkit.{each.name}"] = value
        elif value is not None:
            found[f"prodkit.{each.name}"] = label(value)
    return found
