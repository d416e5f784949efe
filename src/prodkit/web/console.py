"""A page for operators: breakers, calls, pools, queues, limits, caches and models of the last minutes."""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import replace
from typing import Any, Final, cast

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from prodkit.core.events import Event
from prodkit.core.recording import Recorded, from_event
from prodkit.core.runtime import Runtime
from prodkit.core.validate import Arguments
from prodkit.health import Health
from prodkit.progress import Progress
from prodkit.web.asgi import path_of
from prodkit.web.console_now import HasSnapshot, Policies, jobs_section, policies_section
from prodkit.web.console_page import SCRIPT, STYLE, live_page
from prodkit.web.console_records import Records, unrolled
from prodkit.web.console_view import render
from prodkit.web.request_events import RequestFinished
from prodkit.web.sse import EventStream

__all__ = ["Console"]

_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = {
    "content-security-policy": _POLICY,
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
}
_EMBEDDED: Final = {
    "content-security-policy": _POLICY.replace("frame-ancestors 'none'", "frame-ancestors 'self'"),
    "x-frame-options": "SAMEORIGIN",
}
_QUEUE_TIMEOUT: Final = 2.0
_PAUSE: Final = 1.0
"""Seconds between two ``changed`` events, and the age up to which one rendering serves several viewers."""


class Console:
    """Show the events of the last minutes on one page without third parties.

    ::

        console = web.Console(runtime, health, allow=is_operator)
        app.router.routes.extend(console.routes())     # or app.mount("/console", console), which redirects
                                                       # /console to /console/ before `allow` is asked

    It subscribes to ``runtime.events`` until :meth:`close`; the standard logger's ``prodkit`` lines stay. Records of
    level DEBUG and of the levels above are bounded apart. With a script the page follows changes within a second,
    without one it reloads every 15 s. Each process shows its own events. Every text is redacted before it is shown.

    Args:
        runtime: whose events are shown.
        health: its current report is the first section; none when None.
        allow: decides per request, for instance by the role of the signed-in user; may be a coroutine function. All
            others get the 404 of an unknown path.
        minutes: age in minutes at which an event is dropped.
        path: where :meth:`routes` serves the page; begins with ``/`` and does not end with it.
        max_records: most records in memory of level DEBUG, and as many above it; about 1 KB each.
        policies: policy sets whose pipelines, settings, states and figures are shown.
        jobs: a ``jobs.Runs`` (or anything with its ``snapshot()``) whose queue is shown; none when None.
        embed: let pages of the same origin show it in a frame, beside an app's own controls. Their policy needs
            ``frame-src 'self'``.
    """

    def __init__(
        self,
        runtime: Runtime,
        health: Health | None = None,
        *,
        allow: Callable[[Request], bool | Awaitable[bool]],
        minutes: float = 15,
        path: str = "/console",
        max_records: int = 20_000,
        policies: Iterable[Policies] = (),
        jobs: HasSnapshot | None = None,
        embed: bool = False,
    ) -> None:
        check = Arguments("Console")
        check.instance("runtime", runtime, Runtime, "a Runtime")
        check.instance("health", health, Health, "a Health", optional=True)
        check.function("allow", allow)
        check.seconds("minutes", minutes)
        check.integer("max_records", max_records, minimum=1)
        sets = tuple(policies)
        check.that(
            all(callable(getattr(each, "snapshot", None)) for each in sets),
            f"policies must be policy sets, got {sets!r}",
        )
        check.that(
            jobs is None or callable(getattr(jobs, "snapshot", None)),
            f"jobs must be a jobs.Runs, got {jobs!r}",
        )
        check.that(
            path.startswith("/") and not path.endswith("/"),
            f"path must begin with '/' and not end with it, got {path!r}",
        )
        check.done()
        self._runtime = runtime
        self._health = health
        self._allow = allow
        self._path = path
        self._policies = sets
        self._jobs = jobs
        self._max_records = max_records
        self._headers = _HEADERS | (_EMBEDDED if embed else {})
        self._records = Records(minutes * 60, max_records)
        self._rendered: tuple[float, str] | None = None
        self._rendering = asyncio.Lock()
        # `object` takes every event as `Event` would, but does not count as the process's log: the standard logger
        # stays in use where no other subscriber takes all events.
        self._unsubscribe = runtime.events.subscribe(self._on_event, cast("type[Event]", object))

    def close(self) -> None:
        """Stop recording; may be called more than once."""
        self._unsubscribe()

    def routes(self) -> list[BaseRoute]:
        """Return routes for ``app.router.routes.extend(…)`` or ``Starlette(routes=…)``.

        They take every path below too, so that the router never redirects to a path that exists.
        """
        return [
            Route(self._path, self, include_in_schema=False),
            Route(self._path + "/{name:path}", self, include_in_schema=False),
        ]

    def replay(self, records: Iterable[Recorded]) -> None:
        """Show recorded events as if the last of them had happened now.

        Args:
            records: of :func:`prodkit.core.recording.read`, in order.
        """
        kept = deque(unrolled(records), maxlen=2 * self._max_records)
        shift = self._runtime.clock.monotonic() - kept[-1].at if kept else 0.0
        for record in kept:
            self._records.add(replace(record, at=record.at + shift))
        self._rendered = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, below its mount or at the path of :meth:`routes`."""
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1000})
            return
        request = Request(scope, receive)
        route = path_of(scope)
        below = route == self._path or route.startswith(self._path + "/")
        name = (route.removeprefix(self._path) if below else route).strip("/")
        base = scope.get("root_path", "").rstrip("/") + (self._path if below else "")
        # Before anything else, so that no status, header or method shows that there is a console.
        response = await self._respond(request, name, base) if await self._allowed(request) else None
        if response is None:
            if "app" in scope:
                raise HTTPException(404)
            response = PlainTextResponse("Not Found", 404)
        await response(scope, receive, send)

    async def _allowed(self, request: Request) -> bool:
        found = self._allow(request)
        return bool(await found if inspect.isawaitable(found) else found)

    async def _respond(self, request: Request, name: str, base: str) -> Response | None:
        if name not in ("", "fragment", "changes", "console.css", "console.js"):
            return None
        if request.method not in ("GET", "HEAD"):
            return PlainTextResponse("Method Not Allowed", 405, {**self._headers, "allow": "GET, HEAD"})
        if name == "changes":
            return EventStream(
                self._changes(), headers=self._headers | {"cache-control": "no-store, no-transform"}
            )
        if name == "console.css":
            return Response(STYLE, headers=self._headers, media_type="text/css")
        if name == "console.js":
            return Response(SCRIPT, headers=self._headers, media_type="text/javascript")
        fragment = await self._fragment()
        content = fragment if name == "fragment" else live_page(fragment, base)
        return Response(content, headers=self._headers, media_type="text/html")

    async def _fragment(self) -> str:
        """Return the sections, rendered in a thread at most once a second for all viewers."""
        async with self._rendering:
            now = self._runtime.clock.monotonic()
            if self._rendered is not None and 0 <= now - self._rendered[0] < _PAUSE / 2:
                return self._rendered[1]
            report: dict[str, Any] | None = None
            if self._health is not None:
                report = (await self._health.report()).private()
            present = policies_section(self._policies)
            if self._jobs is not None:
                present += jobs_section(await self._queue(self._jobs))
            html = await asyncio.to_thread(render, self._records.window(now), report) + present
            self._rendered = (now, html)
            return html

    async def _queue(self, jobs: HasSnapshot) -> Any:
        """Return the queue, or None while its database is away: the page is needed most then."""
        try:
            async with asyncio.timeout(_QUEUE_TIMEOUT):
                return await jobs.snapshot(limit=20)
        except Exception:  # noqa: BLE001 - whatever a database raises
            return None

    async def _changes(self) -> AsyncIterator[Progress]:
        """Yield ``changed`` at once, so that a reconnected page is current, then at most once a second."""
        number, seen = 0, -1
        while True:
            if self._records.added != seen:
                seen = self._records.added
                number += 1
                yield Progress(number, "changed", {"events": seen})
            await self._runtime.clock.sleep(_PAUSE)

    def _on_event(self, event: Event) -> None:
        if event.__class__ is RequestFinished:
            return  # those of the page's own requests would make it load itself without end
        clock = self._runtime.clock
        self._records.add(from_event(event, at=clock.monotonic(), time=clock.now()))
