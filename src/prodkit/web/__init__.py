"""The kit in a Starlette or FastAPI app: pure ASGI middleware, health routes, server-sent events, error pages.

:func:`install` puts everything in its order; each part also stands alone::

    app = FastAPI()
    drain = web.Drain()
    web.install(app, sessions=accounts, drain=drain)
    app.router.routes.extend(web.health_routes(health, drain=drain))

    @app.get("/runs/{run}/events")
    async def events(request: Request, run: str) -> Response:
        return web.EventStream(channel.subscribe(run, after=web.last_event_id(request)), drain=drain)

This is the only package of the kit that imports starlette.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prodkit.web.csrf import CsrfMiddleware as CsrfMiddleware, csrf_token as csrf_token
    from prodkit.web.deadline import DeadlineMiddleware as DeadlineMiddleware
    from prodkit.web.drain import Drain as Drain
    from prodkit.web.errors import ErrorMiddleware as ErrorMiddleware, Problems as Problems
    from prodkit.web.health import health_routes as health_routes
    from prodkit.web.install import install as install
    from prodkit.web.problem import Problem as Problem
    from prodkit.web.ratelimit import (
        RateLimitMiddleware as RateLimitMiddleware,
        client_key as client_key,
        enforce as enforce,
    )
    from prodkit.web.request_id import (
        RequestIdMiddleware as RequestIdMiddleware,
        current_request_id as current_request_id,
    )
    from prodkit.web.security_headers import (
        CONTENT_SECURITY_POLICY as CONTENT_SECURITY_POLICY,
        SecurityHeadersMiddleware as SecurityHeadersMiddleware,
    )
    from prodkit.web.sessions import SessionMiddleware as SessionMiddleware, session_of as session_of
    from prodkit.web.sse import EventStream as EventStream, last_event_id as last_event_id
    from prodkit.web.uploads import Upload as Upload, UploadForm as UploadForm

_HOME = {
    "CsrfMiddleware": "csrf",
    "csrf_token": "csrf",
    "DeadlineMiddleware": "deadline",
    "Drain": "drain",
    "ErrorMiddleware": "errors",
    "Problems": "errors",
    "Problem": "problem",
    "health_routes": "health",
    "install": "install",
    "RateLimitMiddleware": "ratelimit",
    "client_key": "ratelimit",
    "enforce": "ratelimit",
    "RequestIdMiddleware": "request_id",
    "current_request_id": "request_id",
    "CONTENT_SECURITY_POLICY": "security_headers",
    "SecurityHeadersMiddleware": "security_headers",
    "SessionMiddleware": "sessions",
    "session_of": "sessions",
    "EventStream": "sse",
    "last_event_id": "sse",
    "Upload": "uploads",
    "UploadForm": "uploads",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'prodkit.web' has no attribute {name!r}")
    try:
        module = import_module(f"prodkit.web.{home}")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "starlette":
            raise
        from prodkit.errors import MissingExtraError

        raise MissingExtraError.named("starlette", "web") from None
    value = getattr(module, name)
    globals()[name] = value
    return value
