"""Three routes: how the service is, whether it lives, whether it wants traffic."""

from __future__ import annotations

import hmac
import ipaddress
import json
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from prodkit.core.secrets import Revealable, reveal
from prodkit.health import Health
from prodkit.web.drain import Drain

__all__ = ["health_routes"]


def health_routes(
    health: Health,
    *,
    path: str = "/api/health",
    drain: Drain | None = None,
    token: str | Revealable | None = None,
    loopback: bool = False,
) -> list[BaseRoute]:
    """Routes for ``app.router.routes.extend(…)`` or ``Starlette(routes=…)``.

    - ``path``: the report; 200 while the service is up or degraded, 503 when it is down. Anybody sees statuses;
      reasons and numbers need ``Authorization: Bearer <token>``, or, with `loopback`, a caller on this machine
      that no proxy speaks for.
    - ``path/live``: 200 as long as the process answers. Asks nothing of anything.
    - ``path/ready``: the report's verdict, and 503 from the moment that `drain` begins.
    """
    if not path.startswith("/") or path.endswith("/"):
        raise ValueError(f"path begins with '/' and does not end with it, got {path!r}")
    secret = None if token is None else reveal(token)
    if secret is not None and len(secret) < 16:
        raise ValueError(f"a health token has at least 16 characters, got {len(secret)}")

    async def report(request: Request) -> Response:
        found = await health.report()
        trusted = _bearer(request, secret) or (loopback and _local(request))
        body = found.private() if trusted else found.public()
        return _json(body, 200 if found.ok else 503)

    async def live(_: Request) -> Response:
        return _json({"status": "up"}, 200)

    async def ready(_: Request) -> Response:
        if drain is not None and drain.begun:
            return _json({"status": "draining"}, 503)
        found = await health.report()
        return _json({"status": found.status}, 200 if found.ok else 503)

    return [
        Route(path, report, methods=["GET"]),
        Route(path + "/live", live, methods=["GET"]),
        Route(path + "/ready", ready, methods=["GET"]),
    ]


def _json(body: dict[str, Any], status: int) -> Response:
    text = json.dumps(body, ensure_ascii=False, default=str)
    return Response(text, status, {"cache-control": "no-store"}, media_type="application/json")


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
