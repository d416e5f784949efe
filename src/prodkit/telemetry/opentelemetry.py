"""OpenTelemetry: instruments and spans from the event stream.

Metrics carry the same names as in Prometheus. Calls to a language model also follow the GenAI semantic conventions
(``gen_ai.client.operation.duration``, ``gen_ai.client.token.usage``). An event with a duration becomes a span that
ended when the event was emitted; other events of WARNING and above become events of the current span.
:class:`ServerSpans` makes the spans of HTTP requests around them::

    request ─▶ ServerSpans ── SERVER span "POST /orders/{id}", current
                  └─ your app ─┬─ llm.finished, cache.loaded    child spans
                               └─ ResilientTransport            sends its traceparent
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from prodkit.core.events import Event, Metric
from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.core.validate import Arguments
from prodkit.errors import MissingExtraError
from prodkit.telemetry.catalogue import BUCKETS, MAX_SERIES, PREFIX, label, metrics_of

if TYPE_CHECKING:
    from opentelemetry.metrics import Meter, MeterProvider
    from opentelemetry.trace import Span, Tracer, TracerProvider

__all__ = ["Exporter", "ServerSpans", "install"]

_SCOPE: Final = "prodkit"
_SEVERE: Final = ("WARNING", "ERROR")
_UNITS: Final = {"seconds": "s", "bytes": "By", "tokens": "{token}", "dollars": "{USD}", "": "1"}
# Events about one piece of work, and the field with its duration in seconds.
_SPANS: Final = {"llm.finished": "duration", "llm.attempt": "duration", "cache.loaded": "seconds"}
_METHODS: Final = frozenset(["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"])
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
        self._unsubscribe = runtime.events.subscribe(self._on_event)

    def close(self) -> None:
        """Stop exporting."""
        self._unsubscribe()

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
        from opentelemetry.trace import SpanKind, Status, StatusCode

        ended = time.time_ns()  # spans carry wall time
        conventions = _conventions(event) if event.name.startswith("llm.") else {}
        model = conventions.get("gen_ai.request.model", "")
        span = self._tracer.start_span(
            f"{conventions['gen_ai.operation.name']} {model}".strip() if conventions else event.name,
            kind=SpanKind.CLIENT,
            attributes={**conventions, **_attributes(event)},
            start_time=ended - int(duration * 1e9),
        )
        outcome = getattr(event, "outcome", "ok")
        if outcome not in ("ok", "cancelled", "neutral", None):
            span.set_status(Status(StatusCode.ERROR, label(outcome)))
        span.end(ended)

    def _note(self, event: Event) -> None:
        from opentelemetry import trace

        current = trace.get_current_span()
        if current.is_recording():
            current.add_event(event.name, _attributes(event))


class ServerSpans:
    """Make one span of each HTTP request, current while the request runs. ASGI middleware.

    ::

        web.install(app, …)
        app.add_middleware(ServerSpans)      # afterwards: it lies outside, and sees what the other layers refuse

    Attributes follow the semantic conventions of HTTP, without the query, the client's address and messages of
    errors, which are personal or may hold secrets. The span ends with the response, an event stream's with the
    stream. A status of 500 and above, or an exception, makes it an error. WebSockets have no span. A request that has
    a server span already, such as FastAPI's own, gets no second one.

    Args:
        app: the ASGI app.
        tracer_provider: the provider of spans; the global one when None.
        trust: continue the trace that the request's ``traceparent`` names: for services behind a proxy that sets
            it. Otherwise a new trace begins, linked to that one, so that no visitor decides what is sampled.
        skip: path prefixes without a span, such as health checks.
    """

    def __init__(
        self,
        app: Callable[[Any, Any, Any], Any],
        *,
        tracer_provider: TracerProvider | None = None,
        trust: bool = False,
        skip: Iterable[str] = (),
    ) -> None:
        try:
            from opentelemetry import trace
            from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
        except ModuleNotFoundError as error:
            if not (error.name or "").startswith("opentelemetry"):
                raise
            raise MissingExtraError.named("opentelemetry", "telemetry") from None
        skipped = (skip,) if isinstance(skip, str) else tuple(skip)
        check = Arguments("ServerSpans")
        check.that(
            all(each.startswith("/") for each in skipped),
            f"skip must hold paths that begin with '/', got {skipped!r}",
        )
        check.done()
        self.app = app
        self._trust = trust
        self._skip = skipped
        self._extract = TraceContextTextMapPropagator().extract
        self._tracer = trace.get_tracer(_SCOPE, tracer_provider=tracer_provider)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve the request inside its span."""
        from opentelemetry.trace import SpanKind, Status, StatusCode, get_current_span, use_span

        begun = getattr(get_current_span(), "kind", None) is SpanKind.SERVER
        if scope["type"] != "http" or begun or self._skipped(scope):
            await self.app(scope, receive, send)
            return

        root = scope.get("root_path", "")
        span = self._begin(scope)

        async def watched(message: Any) -> None:
            if message["type"] == "http.response.start":
                status = message["status"]
                span.set_attribute("http.response.status_code", status)
                if status >= 500:
                    span.set_attribute("error.type", str(status))
                    span.set_status(Status(StatusCode.ERROR))
            await send(message)

        try:
            with use_span(span, record_exception=False, set_status_on_exception=False):
                await self.app(scope, receive, watched)
        except Exception as error:
            span.set_attribute("error.type", type(error).__qualname__)
            span.set_status(Status(StatusCode.ERROR))
            raise
        finally:
            if route := _route(scope, root):
                span.update_name(f"{_method(scope)[0]} {route}")
                span.set_attribute("http.route", route)
            span.end()

    def _begin(self, scope: Any) -> Span:
        from opentelemetry.trace import Link, SpanKind, get_current_span

        headers = {
            key.decode("latin-1"): value.decode("latin-1")
            for key, value in reversed(scope.get("headers", ()))
        }
        context = self._extract(headers)
        brought = get_current_span(context).get_span_context()
        linked = brought.is_valid and brought.is_remote and not self._trust
        name, attributes = _method(scope)
        return self._tracer.start_span(
            name,
            context if self._trust else None,
            kind=SpanKind.SERVER,
            attributes={**attributes, **_request(scope, headers)},
            links=[Link(brought)] if linked else [],
        )

    def _skipped(self, scope: Any) -> bool:
        path, root = scope.get("path", ""), scope.get("root_path", "")
        path = path.removeprefix(root) if root else path
        return any(path == each or path.startswith(each.rstrip("/") + "/") for each in self._skip)


def _method(scope: Any) -> tuple[str, dict[str, str]]:
    """The name of a request without a route, and its method as attributes: few values, whatever a client sends."""
    method = scope.get("method", "")
    if method in _METHODS:
        return method, {"http.request.method": method}
    return "HTTP", {"http.request.method": "_OTHER", "http.request.method_original": label(method)}


def _request(scope: Any, headers: Mapping[str, str]) -> dict[str, str | int]:
    found: dict[str, str | int] = {
        "url.scheme": scope.get("scheme", "http"),
        "url.path": label(scope.get("path", "")),
        "network.protocol.version": scope.get("http_version", ""),
        "user_agent.original": label(headers.get("user-agent")),
    }
    address, colon, port = headers.get("host", "").rpartition(":")
    if colon and port.isascii() and port.isdecimal() and len(port) < 6:
        found["server.port"] = int(port)
    else:
        address = headers.get("host", "")
    found["server.address"] = label(address)
    return {name: value for name, value in found.items() if value != ""}


def _route(scope: Any, root: str) -> str:
    """The route's template, as Starlette, FastAPI and Litestar leave it in the scope; empty when it is not known.

    A mounted or included route knows its own part of the path: what lies before it is kept where it is constant.
    """
    route, path = scope.get("route"), scope.get("path", "").removeprefix(root)
    pattern = getattr(route, "path_regex", None)
    if pattern is None:
        return str(scope.get("path_template") or "")
    cuts = (place for place, letter in enumerate(path) if letter == "/")
    cut = next((place for place in cuts if pattern.match(path[place:])), None)
    if cut is None:
        return ""
    before: str = path[:cut]
    given = {str(value).casefold() for value in scope.get("path_params", {}).values()}
    if given & set(before.casefold().split("/")):
        return ""  # a value stands where the mount has a parameter
    return before + str(getattr(route, "path", ""))


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
