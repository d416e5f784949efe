"""Everything in its order."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any, Protocol

from prodkit.sessions import CsrfTokens, OriginPolicy, Sessions
from prodkit.web.csrf import CsrfMiddleware
from prodkit.web.deadline import DeadlineMiddleware
from prodkit.web.errors import ErrorMiddleware, Problems
from prodkit.web.ratelimit import Limiter, RateLimitMiddleware
from prodkit.web.request_id import RequestIdMiddleware
from prodkit.web.security_headers import CONTENT_SECURITY_POLICY, SecurityHeadersMiddleware
from prodkit.web.sessions import SessionMiddleware

__all__ = ["App", "install"]


class App(Protocol):
    """A Starlette or FastAPI app."""

    def add_middleware(self, middleware_class: Any, *args: Any, **kwargs: Any) -> None: ...
    def add_exception_handler(self, exc_class_or_status_code: Any, handler: Any) -> None: ...


def install(
    app: App,
    *,
    sessions: Sessions | None = None,
    csrf: bool = True,
    trusted_origins: Iterable[str] = (),
    csrf_exempt: Iterable[str] = (),
    skip: Iterable[str] = ("/static/", "/api/health"),
    limiter: Limiter | None = None,
    limits: Iterable[Any] = (),
    deadline: float | None = None,
    problems: Problems | None = None,
    csp: str = CONTENT_SECURITY_POLICY,
    hsts: int = 31_536_000,
    trust_request_id: bool = False,
    log_context: Callable[[str], AbstractContextManager[object]] | None = None,
) -> None:
    """Puts the middleware around `app`, outermost first: request id, security headers, errors, deadline,
    rate limits, sessions, CSRF.

    Paths in `skip` have no session and count against no limit: static files, and health checks, which must not
    depend on the database. `limits` apply to each client address, `deadline` are the seconds that a request may
    take. Without `sessions` there is no CSRF protection either, for then no cookie of ours speaks for anybody. Call
    it once, before the app serves; middleware that you add afterwards lies outside of all this.
    """
    problems = problems or Problems()
    skipped = tuple([skip] if isinstance(skip, str) else skip)
    for kind, handler in problems.handlers().items():
        app.add_exception_handler(kind, handler)
    if sessions is not None:
        if csrf:
            app.add_middleware(
                CsrfMiddleware,
                tokens=CsrfTokens(sessions.csrf_keys),
                policy=OriginPolicy(trusted_origins),
                exempt=csrf_exempt,
                secure=sessions.cookie.secure,
                problems=problems,
            )
        app.add_middleware(SessionMiddleware, sessions=sessions, skip=skipped)
    if limiter is not None:
        app.add_middleware(
            RateLimitMiddleware, limiter=limiter, limits=tuple(limits), skip=skipped, problems=problems
        )
    if deadline is not None:
        app.add_middleware(DeadlineMiddleware, seconds=deadline)
    app.add_middleware(ErrorMiddleware, problems=problems)
    app.add_middleware(SecurityHeadersMiddleware, csp=csp, hsts=hsts)
    app.add_middleware(RequestIdMiddleware, trust=trust_request_id, context=log_context)
