"""Health routes: the report, liveness, readiness and startup."""

from __future__ import annotations

import hmac
import inspect
import ipaddress
import json
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from prodkit.core.secrets import Revealable, reveal
from prodkit.core.validate import Arguments
from prodkit.health import Health, Processes
from prodkit.web.drain import Drain

__all__ = ["health_routes"]

_HEALTH_JSON = "application/health+json"


def health_routes(
    health: Health,
    *,
    path: str = "/api/health",
    drain: Drain | None = None,
    token: str | Revealable | None = None,
    loopback: bool = False,
    allow: Callable[[Request], bool | Awaitable[bool]] | None = None,
    processes: Processes | None = None,
) -> list[BaseRoute]:
    """Return routes for ``app.router.routes.extend(…)`` or ``Starlette(routes=…)``.

    - ``path``: the report; 200 while the service is up or degraded, 503 when it is down. Anybody sees statuses;
      reasons and numbers are for the private view. ``Accept: application/health+json`` gives that format (pass, warn,
      fail).
    - ``path/live``: 200 as long as the process answers. Asks no dependency.
    - ``path/ready``: the report's verdict, and 503 from the moment that `drain` begins.
    - ``path/startup``: 503 until the service was once not down, then 200 for good. Answers within 0.5 s also when a
      check hangs.
    - ``path/processes``, with `processes`: the reports of all processes of the service, summed; 503 when none serves.

    Args:
        health: the report.
        path: path of the report; begins with ``/`` and does not end with it.
        drain: the process's drain.
        token: ``Authorization: Bearer <token>`` opens the private view; at least 16 characters.
        loopback: a caller on this machine that no proxy speaks for gets the private view.
        allow: decides per request who gets the private view, for instance by the role of the signed-in user.
        processes: sums the reports of several processes; None leaves that path out.
    """
    secret = None if token is None else reveal(token)
    check = Arguments("health_routes")
    check.instance("health", health, Health, "a Health")
    check.that(
        path.startswith("/") and not path.endswith("/"),
        f"path must begin with '/' and not end with it, got {path!r}",
    )
    check.that(
        secret is None or len(secret) >= 16,
        f"token must have at least 16 characters, got {len(secret or '')}",
    )
    check.function("allow", allow, optional=True)
    check.instance("processes", processes, Processes, "a Processes", optional=True)
    check.done()

    async def private(request: Request) -> bool:
        if _bearer(request, secret) or (loopback and _local(request)):
            return True
        if allow is None:
            return False
        found = allow(request)
        return bool(await found if inspect.isawaitable(found) else found)

    async def report(request: Request) -> Response:
        found = await health.report()
        details = await private(request)
        if _HEALTH_JSON in request.headers.get("accept", ""):
            return _json(found.health_json(private=details), 200 if found.ok else 503, _HEALTH_JSON)
        return _json(found.private() if details else found.public(), 200 if found.ok else 503)

    async def live(_: Request) -> Response:
        return _json({"status": "up"}, 200)

    async def ready(_: Request) -> Response:
        if drain is not None and drain.begun:
            return _json({"status": "draining"}, 503)
        found = await health.report()
        return _json({"status": found.status}, 200 if found.ok else 503)

    async def startup(_: Request) -> Response:
        started = await health.started(within=0.5)
        return _json({"status": "up" if started else "starting"}, 200 if started else 503)

    async def service(request: Request) -> Response:
        assert processes is not None
        found = await processes.report()
        body = found.private() if await private(request) else found.public()
        return _json(body, 200 if found.ok else 503)

    summed = [] if processes is None else [Route(path + "/processes", service, methods=["GET"])]
    return [
        *summed,
        Route(path, report, methods=["GET"]),
        Route(path + "/live", live, methods=["GET"]),
        Route(path + "/ready", ready, methods=["GET"]),
        Route(path + "/startup", startup, methods=["GET"]),
    ]


def _json(body: dict[str, Any], status: int, media_type: str = "application/json") -> Response:
    text = json.dumps(body, ensure_ascii=False, default=str)
    headers = {"cache-control": "no-store", "vary": "Accept, Authorization"}
    return Response(text, status, headers, media_type=media_type)


def _bearer(request: Request, secret: str | None) -> bool:
    if secret is None:
        return False
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), secret.encode())


def _local(request: Request) -> bool:
    if any(name in request.headers for name in ("forwarded", "x-forwarded-for", "x-real-ip")):
        return False
    try:
        return request.client is not None and ipaddress.ip_address(request.client.host).is_loopback
    except ValueError:
        return False
