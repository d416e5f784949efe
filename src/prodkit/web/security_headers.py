"""Security headers on every response: pages, errors, files, streams."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from prodkit.core.events import Event, Level, Metric, Metrics
from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.core.validate import Arguments
from prodkit.web.asgi import header, on_start, path_of

__all__ = [
    "CONTENT_SECURITY_POLICY",
    "DOCS_POLICY",
    "CspViolated",
    "SecurityHeadersMiddleware",
    "csp_nonce",
]

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""Everything from our own origin, nothing inline, no plug-in, no frame."""
DOCS_POLICY: Final = (
    "default-src 'none'; script-src 'self' 'unsafe-inline' https://cdn.jsdelivr.net; style-src 'self' "
    "'unsafe-inline' https://cdn.jsdelivr.net https://fonts.googleapis.com; font-src https://fonts.gstatic.com; "
    "img-src 'self' data: https://fastapi.tiangolo.com https://cdn.redoc.ly; connect-src 'self'; worker-src blob:; "
    "base-uri 'none'; frame-ancestors 'none'"
)
"""For FastAPI's ``/docs`` and ``/redoc`` only, which load Swagger UI and ReDoc from a CDN and start them inline."""

_STRICT: Final = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # Not no-referrer: browsers then send `Origin: null` with our own forms, which CSRF protection must refuse.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "x-permitted-cross-domain-policies": "none",
}
_NONCE: Final = "prodkit.csp_nonce"
_MAX_REPORT: Final = 16_384
_MAX_REPORTS: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class CspViolated(Event):
    """A browser reported that a page loaded, or tried to load, something outside the policy.

    Anybody can send such a report: read it as a hint, not as a fact.

    Args:
        directive: the part of the policy, such as ``script-src-elem``.
        blocked: origin of the resource, or ``inline``, ``eval``, ``data``.
        page: path of the page, without its query.
        enforced: False for the report-only policy.
    """

    name = "web.csp_violated"
    level: ClassVar[Level] = "INFO"
    metric: ClassVar[Metrics] = Metric(
        "csp_violations", labels=("enforced",), help="Violations of the Content-Security-Policy."
    )
    directive: str
    blocked: str
    page: str
    enforced: bool


def csp_nonce(request: HTTPConnection[Any] | Scope) -> str:
    """Return the nonce of the response to `request` (a request or its scope), for an inline script or style.

    In a template: ``<script nonce="{{ csp_nonce(request) }}">``. The policy of this response then allows it.
    """
    scope: Any = getattr(request, "scope", request)  # a request of Litestar has one too
    found = scope.get(_NONCE)
    if found is None:
        found = scope[_NONCE] = secrets.token_urlsafe(16)
    return str(found)


class SecurityHeadersMiddleware:
    """Add the headers that a response does not have yet, so a route can set its own. Put it outermost.

    Args:
        app: the ASGI app.
        csp: the Content-Security-Policy.
        csp_report_only: a second policy that is reported and not enforced, to try a stricter one; empty for none.
        csp_report_path: path that takes the browsers' reports and emits ``web.csp_violated``; empty for none.
        csp_paths: policies of single paths, such as FastAPI's ``/docs``.
        hsts: seconds of Strict-Transport-Security, sent over https only; 0 sends none.
        hsts_subdomains: the header covers all subdomains, which must then serve https too.
        extra: adds headers or, with None, removes them.
        runtime: receives the events.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        csp: str = CONTENT_SECURITY_POLICY,
        csp_report_only: str = "",
        csp_report_path: str = "",
        csp_paths: Mapping[str, str] | None = None,
        hsts: int = 31_536_000,
        hsts_subdomains: bool = False,
        extra: Mapping[str, str | None] | None = None,
        runtime: Runtime = SYSTEM,
    ) -> None:
        report = f"; report-uri {csp_report_path}" if csp_report_path else ""
        wanted: dict[str, str | None] = {"content-security-policy": csp + report, **_STRICT}
        if csp_report_only:
            wanted["content-security-policy-report-only"] = csp_report_only + report
        wanted.update({name.lower(): value for name, value in (extra or {}).items()})
        check = Arguments("SecurityHeadersMiddleware")
        check.integer("hsts", hsts, minimum=0)
        check.that(
            not csp_report_path or csp_report_path.startswith("/"),
            f"csp_report_path must begin with '/', got {csp_report_path!r}",
        )
        for name, value in wanted.items():
            check.that(
                value is None or not {"\n", "\r"} & set(value), f"{name} must be one line, got {value!r}"
            )
        check.done()
        self.app = app
        self._report_path = csp_report_path
        self._runtime = runtime
        self._paths = {path: policy.encode("latin-1") for path, policy in (csp_paths or {}).items()}
        self._headers = [
            (name.encode(), value.encode("latin-1")) for name, value in wanted.items() if value is not None
        ]
        self._secure = list(self._headers)
        if hsts and "strict-transport-security" not in wanted:
            text = f"max-age={hsts}" + ("; includeSubDomains" if hsts_subdomains else "")
            self._secure.append((b"strict-transport-security", text.encode()))
        self._names = frozenset(name for name, _ in self._secure)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        wanted = self._secure if scope.get("scheme") == "https" else self._headers

        def guarded(message: Message) -> None:
            present = message.get("headers", ())
            names = {name.lower() for name, _ in present}
            added = wanted if names.isdisjoint(own) else [pair for pair in wanted if pair[0] not in names]
            if _NONCE in scope or self._paths:
                added = [self._for(scope, *pair) for pair in added]
            message["headers"] = [*present, *added]

        own = self._names
        send, hooks = on_start(scope, send, guarded)
        try:
            if self._report_path and scope["method"] == "POST" and path_of(scope) == self._report_path:
                await self._report(scope, receive, send)
                return
            await self.app(scope, receive, send)
        finally:
            hooks.pop()

    def _for(self, scope: Scope, name: bytes, value: bytes) -> tuple[bytes, bytes]:
        """Return a header with the policy of its path and the nonce of its response."""
        if not name.startswith(b"content-security-policy"):
            return name, value
        if name == b"content-security-policy":
            value = self._paths.get(path_of(scope), value)
        nonce = scope.get(_NONCE)
        if nonce is None or b"'unsafe-inline'" in value:  # a nonce would switch unsafe-inline off
            return name, value
        return name, _with_nonce(value.decode("latin-1"), nonce).encode("latin-1")

    async def _report(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take a report in either form that browsers send: ``application/csp-report``, ``application/reports+json``."""
        body, more = b"", True
        while more and len(body) <= _MAX_REPORT:
            message = await receive()
            if message["type"] != "http.request":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
        status = 413 if len(body) > _MAX_REPORT else 204
        if (
            status == 204
            and "json" not in header(scope, b"content-type")
            and ("csp-report" not in header(scope, b"content-type"))
        ):
            status = 415
        if status == 204:
            for event in _violations(body):
                if self._runtime.events.listened(CspViolated):
                    self._runtime.events.emit(event)
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})


def _with_nonce(policy: str, nonce: str) -> str:
    """Return `policy` with the nonce in its script and style directives."""
    parts = [part.strip() for part in policy.split(";") if part.strip()]
    for position, part in enumerate(parts):
        if part.split(" ", 1)[0].lower() in ("script-src", "style-src"):
            parts[position] = f"{part.replace(' ' + chr(39) + 'none' + chr(39), '')} 'nonce-{nonce}'"
    return "; ".join(parts)


def _violations(body: bytes) -> list[CspViolated]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return []
    if isinstance(found, dict):
        reports: list[Any] = [found.get("csp-report")]
    elif isinstance(found, list):
        reports = [each.get("body") for each in found[:_MAX_REPORTS] if isinstance(each, dict)]
    else:
        reports = []
    return [_violation(each) for each in reports if isinstance(each, dict)]


def _violation(report: Mapping[str, Any]) -> CspViolated:
    def text(*names: str) -> str:
        return next((value for name in names if isinstance(value := report.get(name), str)), "")

    directive = text("effective-directive", "effectiveDirective", "violated-directive").split(" ")[0][:64]
    blocked = text("blocked-uri", "blockedURL")[:2048]
    try:
        parts, page = urlsplit(blocked), urlsplit(text("document-uri", "documentURL")[:2048]).path[:256]
    except ValueError:
        return CspViolated(directive=directive, blocked="", page="", enforced=True)
    # The origin only: a full address may hold a token.
    blocked = f"{parts.scheme}://{parts.hostname}" if parts.hostname else blocked.partition(":")[0][:64]
    return CspViolated(
        directive=directive, blocked=blocked, page=page, enforced=text("disposition") != "report"
    )
