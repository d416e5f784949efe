"""One event for each request that was served: method, route, status and duration, for metrics and logs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from prodkit.core.events import Event, Level, Metric, Metrics
from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.telemetry.routes import method_of, route_of

__all__ = ["RequestEventsMiddleware", "RequestFinished"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestFinished(Event):
    """A request was answered, refused or left by its client.

    Args:
        method: of RFC 9110, or ``_OTHER``.
        route: the template of the route, such as ``/orders/{id}``; empty for a path without a route.
        status: the status of the answer; 499 when the client left before it began, 500 when it never began.
        seconds: until the last byte was handed to the server; of an event stream its whole life.
    """

    name = "web.finished"
    level: ClassVar[Level] = "DEBUG"
    metric: ClassVar[Metrics] = Metric(
        "http_request_seconds",
        "histogram",
        ("method", "route", "status"),
        value="seconds",
        unit="seconds",
        help="Duration of HTTP requests.",
    )
    method: str
    route: str
    status: int
    seconds: float


class RequestEventsMiddleware:
    """Emit ``web.finished`` for each HTTP request; costs next to nothing while nothing subscribes to it.

    Put it outermost, so that it sees what the other layers refuse.

    Args:
        app: the ASGI app.
        runtime: receives the events.
    """

    def __init__(self, app: ASGIApp, *, runtime: Runtime = SYSTEM) -> None:
        self.app = app
        self._runtime = runtime
        self._listened = runtime.events.listened

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not self._listened(RequestFinished):
            await self.app(scope, receive, send)
            return
        now = self._runtime.clock.monotonic
        began, root, status, ended, left = now(), scope.get("root_path", ""), 0, 0.0, False

        async def watched(message: Message) -> None:
            nonlocal status, ended
            await send(message)
            if message["type"] == "http.response.start":
                status = message["status"]
            elif message["type"] == "http.response.body" and not message.get("more_body", False):
                ended = now()  # what runs in the background afterwards is not the client's time

        async def heard() -> Message:
            nonlocal left
            message = await receive()
            left = left or message["type"] == "http.disconnect"
            return message

        try:
            await self.app(scope, heard, watched)
        except Exception:
            status = status or 500
            raise
        finally:
            event = RequestFinished(
                method=method_of(scope),
                route=route_of(scope, root),
                status=status or (499 if left else 500),
                seconds=(ended or now()) - began,
            )
            self._runtime.events.emit(event)
