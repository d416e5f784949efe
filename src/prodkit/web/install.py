"""Everything in its order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.core.validate import Arguments
from prodkit.sessions import CsrfTokens, OriginPolicy, Sessions
from prodkit.web.admission import Admission, AdmissionMiddleware
from prodkit.web.body_limit import MAX_BODY, BodyLimitMiddleware
from prodkit.web.csrf import CsrfMiddleware, CsrfMode
from prodkit.web.deadline import DeadlineMiddleware
from prodkit.web.drain import Drain, DrainMiddleware
from prodkit.web.errors import ErrorMiddleware, Problems
from prodkit.web.frameworks import App, adopt
from prodkit.web.idempotency import Idempotency, IdempotencyMiddleware
from prodkit.web.proxy import ProxyMiddleware
from prodkit.web.ratelimit import Limiter, RateLimitMiddleware
from prodkit.web.request_events import RequestEventsMiddleware
from prodkit.web.request_id import RequestIdMiddleware
from prodkit.web.security_headers import CONTENT_SECURITY_POLICY, SecurityHeadersMiddleware
from prodkit.web.sessions import SessionMiddleware
from prodkit.web.sockets import SocketMiddleware

__all__ = ["install"]


def install(
    app: App,
    *,
    drain: Drain | None = None,
    trusted_proxies: Sequence[str] = (),
    forwarded: bool = False,
    max_body: int | None = MAX_BODY,
    sessions: Sessions | None = None,
    csrf: CsrfMode | bool = "token",
    trusted_origins: Iterable[str] = (),
    csrf_exempt: Iterable[str] = (),
    skip: Iterable[str] = ("/static/", "/api/health"),
    admission: Admission | None = None,
    limiter: Limiter | None = None,
    limits: Iterable[Any] = (),
    deadline: float | None = None,
    idempotency: Idempotency | None = None,
    problems: Problems | None = None,
    csp: str = CONTENT_SECURITY_POLICY,
    csp_report_only: str = "",
    csp_report_path: str = "",
    hsts: int = 31_536_000,
    hsts_subdomains: bool = False,
    clear_site_data: str = '"cache", "storage"',
    trust_request_id: bool = False,
    log_context: Callable[[str], AbstractContextManager[object]] | None = None,
    runtime: Runtime = SYSTEM,
) -> None:
    """Put the middleware around `app` (Starlette, FastAPI or Litestar), outermost first::

        proxies · request events · drain · request id · security headers · errors · deadline · admission
                · rate limits · body limit · sessions · sockets · CSRF · idempotency · your app

    Handlers and error pages of your own stay: an ``HTTPException``, ``Exception`` or 500 handler that the app has
    is kept, and so is the debug page. FastAPI's validation errors become problem+json, its OpenAPI document describes
    them, and its ``/docs`` get a policy under which they work. Call it once, before the app serves; middleware that
    you add afterwards lies outside of all this.

    Args:
        app: the app.
        drain: answers carry ``Connection: close``, and streams and sockets end, once it begins.
        trusted_proxies: networks and addresses of your proxies, whose ``X-Forwarded-*``, ``X-Request-ID`` and
            ``X-Deadline-Ms`` count; ``unix`` for a server on a Unix socket.
        forwarded: your proxies write ``Forwarded`` (RFC 7239) instead of ``X-Forwarded-*``.
        max_body: bytes of a request body; None for no limit.
        sessions: server-side sessions. Without them there is no CSRF protection either, because then no cookie of
            ours speaks for a visitor.
        csrf: ``token`` requires origin and token, ``headers`` a token only where the browser sent no origin, ``log``
            refuses nothing and emits ``web.csrf_refused``; False is off.
        trusted_origins: further origins whose pages may send requests here.
        csrf_exempt: path prefixes of callers that carry their own proof, such as signed webhooks.
        skip: path prefixes without session, limits and admission: static files and health checks, which must not
            depend on the database.
        admission: admits requests by priority under overload.
        limiter: counts the `limits`.
        limits: limits of each client address.
        deadline: seconds in which the answer must begin; None for no limit.
        idempotency: answers a repeated ``Idempotency-Key`` with the first answer.
        problems: turns errors into responses; its `language` is the default one.
        csp: the Content-Security-Policy; :func:`csp_nonce` allows single inline scripts.
        csp_report_only: a second policy that is only reported.
        csp_report_path: path that takes the browsers' reports and emits ``web.csp_violated``.
        hsts: seconds of Strict-Transport-Security over https; 0 for none.
        hsts_subdomains: it covers all subdomains.
        clear_site_data: value of ``Clear-Site-Data`` at a logout; empty for none.
        trust_request_id: take ``X-Request-ID`` from every peer.
        log_context: called with the request id and entered around the request.
        runtime: receives the events.
    """
    skipped = tuple([skip] if isinstance(skip, str) else skip)
    check = Arguments("install")
    check.one_of("csrf", csrf, ("token", "headers", "log", True, False))
    check.integer("max_body", max_body, minimum=0, optional=True)
    check.seconds("deadline", deadline, optional=True)
    check.instance("sessions", sessions, Sessions, "a Sessions", optional=True)
    check.instance("drain", drain, Drain, "a Drain", optional=True)
    check.attempt(lambda: ProxyMiddleware(app, trusted=trusted_proxies, forwarded=forwarded))
    check.done()
    problems = problems or Problems(runtime=runtime)
    adopted = adopt(app, problems)
    layers: list[tuple[type[Any], dict[str, Any]]] = []

    def add(wanted: bool, layer: type[Any], **options: Any) -> None:
        if wanted:
            layers.append((layer, options))

    add(idempotency is not None, IdempotencyMiddleware, idempotency=idempotency, problems=problems)
    if sessions is not None:
        add(
            bool(csrf),
            CsrfMiddleware,
            tokens=CsrfTokens(sessions.csrf_keys),
            policy=OriginPolicy(trusted_origins),
            mode="token" if csrf is True else csrf or "token",
            exempt=csrf_exempt,
            secure=sessions.cookie.secure,
            session_cookie=sessions.cookie.name,
            problems=problems,
            runtime=runtime,
        )
    add(sessions is not None or drain is not None, SocketMiddleware, drain=drain)
    add(
        sessions is not None,
        SessionMiddleware,
        sessions=sessions,
        skip=skipped,
        clear_site_data=clear_site_data,
    )
    add(max_body is not None, BodyLimitMiddleware, max_bytes=max_body)
    add(
        limiter is not None,
        RateLimitMiddleware,
        limiter=limiter,
        limits=tuple(limits),
        skip=skipped,
        problems=problems,
    )
    add(admission is not None, AdmissionMiddleware, admission=admission, sessions=sessions, skip=skipped)
    add(deadline is not None or bool(trusted_proxies), DeadlineMiddleware, seconds=deadline)
    add(True, ErrorMiddleware, problems=problems)
    add(
        True,
        SecurityHeadersMiddleware,
        csp=csp,
        csp_report_only=csp_report_only,
        csp_report_path=csp_report_path,
        csp_paths=adopted.docs,
        hsts=hsts,
        hsts_subdomains=hsts_subdomains,
        runtime=runtime,
    )
    add(True, RequestIdMiddleware, trust=trust_request_id, context=log_context)
    add(drain is not None, DrainMiddleware, drain=drain)
    add(True, RequestEventsMiddleware, runtime=runtime)
    add(bool(trusted_proxies), ProxyMiddleware, trusted=trusted_proxies, forwarded=forwarded)
    for layer, options in layers:
        adopted.add(layer, options)
