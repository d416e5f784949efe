"""The kit in a Starlette, FastAPI or Litestar app: pure ASGI middleware, health routes, event streams, error pages.

:func:`install` puts everything in its order; each part also stands alone::

    app = FastAPI()
    drain = web.Drain(delay=10)
    web.install(app, sessions=accounts, drain=drain)
    app.router.routes.extend(web.health_routes(health, drain=drain))

    @app.get("/runs/{run}/events")
    async def events(request: Request, run: str) -> Response:
        return web.EventStream(channel.subscribe(run, after=web.last_event_id(request), until={"done"}))

A request passes, outermost first::

    proxy ─ request events ─ drain ─ request id ─ security headers ─ errors ─ deadline ─ admission ─ rate limits
          ─ body limit ─ sessions ─ sockets ─ CSRF ─ idempotency ─► your app
    any exception ──► errors: problem+json or your page, with every header of the layers outside

This is the only package of the kit that imports starlette.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prodkit.core.lazy import attach

if TYPE_CHECKING:
    from prodkit.web.admission import Admission as Admission, AdmissionMiddleware as AdmissionMiddleware
    from prodkit.web.body_limit import BodyLimitMiddleware as BodyLimitMiddleware
    from prodkit.web.console import Console as Console
    from prodkit.web.csrf import CsrfMiddleware as CsrfMiddleware, csrf_token as csrf_token
    from prodkit.web.deadline import DeadlineMiddleware as DeadlineMiddleware
    from prodkit.web.drain import Drain as Drain, DrainMiddleware as DrainMiddleware
    from prodkit.web.errors import ErrorMiddleware as ErrorMiddleware, Problems as Problems
    from prodkit.web.health import health_routes as health_routes
    from prodkit.web.idempotency import (
        Idempotency as Idempotency,
        IdempotencyMiddleware as IdempotencyMiddleware,
    )
    from prodkit.web.install import install as install
    from prodkit.web.problem import Problem as Problem
    from prodkit.web.proxy import ProxyMiddleware as ProxyMiddleware
    from prodkit.web.ratelimit import (
        RateLimitMiddleware as RateLimitMiddleware,
        RateLimits as RateLimits,
        client_key as client_key,
        enforce as enforce,
    )
    from prodkit.web.request_events import RequestEventsMiddleware as RequestEventsMiddleware
    from prodkit.web.request_id import (
        RequestIdMiddleware as RequestIdMiddleware,
        current_request_id as current_request_id,
    )
    from prodkit.web.security_headers import (
        CONTENT_SECURITY_POLICY as CONTENT_SECURITY_POLICY,
        SecurityHeadersMiddleware as SecurityHeadersMiddleware,
        csp_nonce as csp_nonce,
    )
    from prodkit.web.sessions import SessionMiddleware as SessionMiddleware, session_of as session_of
    from prodkit.web.sockets import SocketMiddleware as SocketMiddleware
    from prodkit.web.sse import EventStream as EventStream, last_event_id as last_event_id
    from prodkit.web.uploads import Upload as Upload, UploadForm as UploadForm
else:
    __getattr__, __dir__, __all__ = attach(
        __name__,
        {
            "sockets": ("SocketMiddleware",),
            "proxy": ("ProxyMiddleware",),
            "idempotency": (
                "Idempotency",
                "IdempotencyMiddleware",
            ),
            "body_limit": ("BodyLimitMiddleware",),
            "admission": (
                "Admission",
                "AdmissionMiddleware",
            ),
            "console": ("Console",),
            "csrf": ("CsrfMiddleware", "csrf_token"),
            "deadline": ("DeadlineMiddleware",),
            "drain": ("Drain", "DrainMiddleware"),
            "errors": ("ErrorMiddleware", "Problems"),
            "health": ("health_routes",),
            "install": ("install",),
            "problem": ("Problem",),
            "ratelimit": ("RateLimitMiddleware", "RateLimits", "client_key", "enforce"),
            "request_events": ("RequestEventsMiddleware",),
            "request_id": ("RequestIdMiddleware", "current_request_id"),
            "security_headers": ("CONTENT_SECURITY_POLICY", "SecurityHeadersMiddleware", "csp_nonce"),
            "sessions": ("SessionMiddleware", "session_of"),
            "sse": ("EventStream", "last_event_id"),
            "uploads": ("Upload", "UploadForm"),
        },
    )
