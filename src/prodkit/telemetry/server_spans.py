"""Spans of HTTP requests and WebSockets, and their durations, by the semantic conventions of OpenTelemetry.

::

    request ──▶ SERVER span "GET /orders/{id}" ──▶ http.server.request.duration
    handshake ▶ SERVER span "GET /live", until the socket closes
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from prodkit.core.validate import Arguments
from prodkit.errors import MissingExtraError
from prodkit.telemetry.catalogue import MAX_SERIES, label
from prodkit.telemetry.routes import OTHER_METHOD, method_of, route_of

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import Span, TracerProvider

__all__ = ["ServerSpans"]

_SCOPE: Final = "prodkit"
_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
"""Upper bounds that the conventions ask for, in seconds."""


class ServerSpans:
    """Make one span of each HTTP request and WebSocket, current while it is served. ASGI middleware.

    ::

        web.install(app, …)
        app.add_middleware(ServerSpans)      # afterwards: it lies outside, and sees what the other layers refuse

    Attributes follow the semantic conventions of HTTP, without the query, the client's address and messages of
    errors, which are personal or may hold secrets. The span ends with the response, an event stream's with the
    stream, a WebSocket's when it is closed. A status of 500 and above, or an exception, makes it an error, and so
    does the close code 1011. A request that has a server span already, such as FastAPI's own, gets no second one.

    Requests also feed the histogram ``http.server.request.duration``, by method, scheme, route and status.

    Args:
        app: the ASGI app.
        tracer_provider: the provider of spans; the global one when None.
        meter_provider: the provider of the histogram; the global one when None.
        trust: continue the trace that the request's ``traceparent`` names: for services behind a proxy that sets
            it. Otherwise a new trace begins, linked to that one, so that no visitor decides what is sampled.
        skip: path prefixes without a span, such as health checks.
    """

    def __init__(
        self,
        app: Callable[[Any, Any, Any], Any],
        *,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        trust: bool = False,
        skip: Iterable[str] = (),
    ) -> None:
        try:
            from opentelemetry import metrics, trace
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
        self._durations = metrics.get_meter(_SCOPE, meter_provider=meter_provider).create_histogram(
            "http.server.request.duration",
            unit="s",
            description="Duration of HTTP server requests.",
            explicit_bucket_boundaries_advisory=list(_BUCKETS),
        )
        self._routes: set[str] = set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve the request inside its span."""
        from opentelemetry.trace import SpanKind, Status, StatusCode, get_current_span, use_span

        begun = getattr(get_current_span(), "kind", None) is SpanKind.SERVER
        if scope["type"] not in ("http", "websocket") or begun or self._skipped(scope):
            await self.app(scope, receive, send)
            return

        root, at = scope.get("root_path", ""), time.perf_counter()
        span = self._begin(scope)
        watch = _Watch(span, receive, send)
        try:
            with use_span(span, record_exception=False, set_status_on_exception=False):
                await self.app(scope, watch.receive, watch.send)
        except Exception as error:
            watch.error = type(error).__qualname__
            raise
        finally:
            route = route_of(scope, root)
            if route:
                span.update_name(f"{_name(scope)} {route}")
                span.set_attribute("http.route", route)
            if watch.error:
                span.set_attribute("error.type", watch.error)
                span.set_status(Status(StatusCode.ERROR))
            if scope["type"] == "http":  # inside the span's context, so that an exemplar can name the trace
                with use_span(span, record_exception=False, set_status_on_exception=False):
                    self._durations.record(
                        (watch.ended or time.perf_counter()) - at, self._series(scope, route, watch)
                    )
            span.end()

    def _series(self, scope: Any, route: str, watch: _Watch) -> dict[str, str | int]:
        found: dict[str, str | int] = {
            "http.request.method": method_of(scope),
            "url.scheme": "https" if scope.get("scheme") == "https" else "http",
            "network.protocol.version": label(scope.get("http_version", "")),
        }
        if route and (route in self._routes or len(self._routes) < MAX_SERIES):
            self._routes.add(route)
            found["http.route"] = route
        if watch.status:
            found["http.response.status_code"] = watch.status
        if watch.error:
            found["error.type"] = watch.error
        return found

    def _begin(self, scope: Any) -> Span:
        from opentelemetry.trace import Link, SpanKind, get_current_span

        headers = {
            key.decode("latin-1"): value.decode("latin-1")
            for key, value in reversed(scope.get("headers", ()))
        }
        context = self._extract(headers)
        brought = get_current_span(context).get_span_context()
        linked = brought.is_valid and brought.is_remote and not self._trust
        return self._tracer.start_span(
            _name(scope),
            context if self._trust else None,
            kind=SpanKind.SERVER,
            attributes=_request(scope, headers),
            links=[Link(brought)] if linked else [],
        )

    def _skipped(self, scope: Any) -> bool:
        path, root = scope.get("path", ""), scope.get("root_path", "")
        path = path.removeprefix(root) if root else path
        return any(path == each or path.startswith(each.rstrip("/") + "/") for each in self._skip)


class _Watch:
    """Reads the status and the end of one request from its messages."""

    __slots__ = ("_receive", "_send", "_span", "ended", "error", "status")

    def __init__(self, span: Span, receive: Any, send: Any) -> None:
        self._span = span
        self._receive = receive
        self._send = send
        self.status = 0
        self.error = ""
        self.ended = 0.0

    async def receive(self) -> Any:
        message = await self._receive()
        if message["type"] == "websocket.disconnect":
            self._closed(message)
        return message

    async def send(self, message: Any) -> None:
        kind = message["type"]
        if kind in ("http.response.start", "websocket.http.response.start"):
            self._answered(message["status"])
        elif kind == "websocket.accept":
            self._answered(101)
        elif kind == "websocket.close":
            if self.status:
                self._closed(message)
            else:
                self._answered(403)  # what a server makes of a close before the handshake
        await self._send(message)
        if kind == "http.response.body" and not message.get("more_body", False):
            self.ended = time.perf_counter()  # background tasks are not the client's time

    def _answered(self, status: int) -> None:
        self.status = status
        self._span.set_attribute("http.response.status_code", status)
        if status >= 500:
            self.error = str(status)

    def _closed(self, message: Any) -> None:
        code = message.get("code") or 1005
        self._span.set_attribute("prodkit.websocket.close_code", code)
        if code == 1011:
            self.error = "1011"


def _name(scope: Any) -> str:
    """The name of a request without a route: few values, whatever a client sends."""
    method = method_of(scope)
    return "HTTP" if method == OTHER_METHOD else method


def _request(scope: Any, headers: Mapping[str, str]) -> dict[str, str | int]:
    method = method_of(scope)
    found: dict[str, str | int] = {
        "http.request.method": method,
        "url.scheme": scope.get("scheme", "http"),
        "url.path": label(scope.get("path", "")),
        "network.protocol.version": label(scope.get("http_version", "")),
        "user_agent.original": label(headers.get("user-agent")),
    }
    if method == OTHER_METHOD:
        found["http.request.method_original"] = label(scope.get("method", ""))
    if scope["type"] == "websocket":
        found["network.protocol.name"] = "websocket"
    address, colon, port = headers.get("host", "").rpartition(":")
    if colon and port.isascii() and port.isdecimal() and len(port) < 6:
        found["server.port"] = int(port)
    else:
        address = headers.get("host", "")
    found["server.address"] = label(address)
    return {name: value for name, value in found.items() if value != ""}
