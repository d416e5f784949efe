"""CSRF protection for forms and scripts.

In a template: ``<input type="hidden" name="csrf_token" value="{{ csrf_token(request) }}">``, first in the form; for
scripts the same token in a ``<meta>``, sent as ``X-CSRF-Token`` or as the member ``csrf_token`` of a JSON object::

    safe method, exempt path, or Authorization: Bearer without a cookie of ours ──► passes
    Sec-Fetch-Site, Origin, Referer (OriginPolicy) ── of another site ──► 403
    token in header, form field or JSON, bound to the session ── missing or foreign ──► 403
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal, TypeAlias

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from prodkit.core.events import Event, Level, Metric, Metrics
from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.core.validate import Arguments
from prodkit.errors import CsrfError
from prodkit.sessions import CsrfDecision, CsrfTokens, OriginPolicy, Session
from prodkit.sessions.cookie import cookie_values
from prodkit.sessions.csrf import SAFE_METHODS
from prodkit.sessions.session import digest
from prodkit.web.asgi import add_header, header, headers, matches, on_start, prefixes, set_default
from prodkit.web.errors import Problems
from prodkit.web.form import ReadBody, field_of

__all__ = ["CsrfMiddleware", "CsrfMode", "CsrfRefused", "csrf_token"]

CsrfMode: TypeAlias = Literal["token", "headers", "log"]
"""``token``: origin and token. ``headers``: a token only where the browser sent no origin. ``log``: refuse nothing."""

_VISITOR: Final = re.compile(r"[A-Za-z0-9_-]{22}\Z")
_KEY: Final = "prodkit.csrf"


@dataclass(frozen=True, slots=True, kw_only=True)
class CsrfRefused(Event):
    """A request was refused, or in the mode ``log`` would have been.

    Args:
        reason: ``token_missing``, ``token_invalid``, ``cross_origin``, ``foreign_origin``, ``foreign_referer`` or
            ``ambiguous_headers``.
        enforced: False in the mode ``log``.
    """

    name = "web.csrf_refused"
    level: ClassVar[Level] = "INFO"
    metric: ClassVar[Metrics] = Metric(
        "csrf_refusals", labels=("reason", "enforced"), help="Requests refused by CSRF protection."
    )
    reason: str
    enforced: bool


def csrf_token(request: HTTPConnection[Any] | Scope) -> str:
    """Return a token for the forms of the page that answers `request` (a request or its scope).

    It is bound to the session, or for a visitor without one to a cookie that the response then sets.

    Raises:
        RuntimeError: there is no CSRF middleware.
    """
    scope: Any = getattr(request, "scope", request)  # a request of Litestar has one too
    guard = scope.get(_KEY)
    if guard is None:
        raise RuntimeError("csrf_token needs web.CsrfMiddleware around the app")
    assert isinstance(guard, _Guard)
    return guard.issue()


class _Guard:
    """The sender of one request: session and visitor's cookie."""

    __slots__ = ("_cookie", "_scope", "_tokens", "fresh", "issued", "visitor")

    visitor: str | None
    """The value of the visitor's cookie; read when a token is issued or verified, which most requests do not."""

    def __init__(self, scope: Scope, tokens: CsrfTokens, cookie: str) -> None:
        self._scope = scope
        self._tokens = tokens
        self._cookie = cookie
        self.fresh = False
        self.issued = False

    def _read_visitor(self) -> str | None:
        try:
            return self.visitor
        except AttributeError:
            values = (
                each for raw in headers(self._scope, b"cookie") for each in cookie_values(raw, self._cookie)
            )
            self.visitor = next((each for each in values if _VISITOR.match(each)), None)
            return self.visitor

    @property
    def _session(self) -> Session | None:
        found = self._scope.get("session")
        return found if isinstance(found, Session) else None

    def issue(self) -> str:
        self.issued = True
        session = self._session
        if session is not None and session.id is not None:
            return self._tokens.issue(_session_binding(session.id))
        visitor = self._read_visitor()
        if visitor is None:
            visitor = self.visitor = secrets.token_urlsafe(16)
            self.fresh = True
        return self._tokens.issue(b"visitor:" + visitor.encode())

    def valid(self, token: object) -> bool:
        session = self._session
        bindings = []
        if session is not None and session.id is not None:
            bindings.append(_session_binding(session.id))
        # A form that was served before the visitor had a session is good until the login.
        visitor = self._read_visitor()
        if visitor is not None and (session is None or session.owner is None):
            bindings.append(b"visitor:" + visitor.encode())
        return self._tokens.valid(token, bindings)


def _session_binding(session_id: str) -> bytes:
    return b"session:" + digest(session_id)


class CsrfMiddleware:
    """Refuse, with 403, requests that change something and did not come from our own pages.

    First ``Sec-Fetch-Site`` and ``Origin`` (`policy`), then the token: header `header_name`, form field or JSON
    member `field_name`. A request with ``Authorization: Bearer`` and no cookie of ours needs neither: another site
    cannot add that header, and no cookie speaks for the visitor. Belongs inside the session middleware.

    Args:
        app: the ASGI app.
        tokens: issues and verifies the tokens.
        policy: decides by origin; by default only our own origin is trusted.
        mode: ``token`` asks for both; ``headers`` asks for a token only where the browser sent no origin;
            ``log`` refuses nothing and emits ``web.csrf_refused``, to see what would be refused.
        exempt: path prefixes for callers that are no browsers and carry their own proof, such as signed webhooks.
        secure: False drops ``__Host-`` from the visitor's cookie, for plain http.
        session_cookie: name of the session's cookie, which the Bearer rule looks for.
        header_name: request header of the token.
        field_name: form field or JSON member of the token.
        max_form_bytes: bytes of a multipart body that are read up to the token. More than 1 MiB of them wait in a
            temporary file.
        problems: turns refusals into responses.
        runtime: receives the events.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        tokens: CsrfTokens,
        policy: OriginPolicy | None = None,
        mode: CsrfMode = "token",
        exempt: Iterable[str] = (),
        secure: bool = True,
        session_cookie: str = "",
        header_name: str = "x-csrf-token",
        field_name: str = "csrf_token",
        max_form_bytes: int = 64 * 2**20,
        problems: Problems | None = None,
        runtime: Runtime = SYSTEM,
    ) -> None:
        check = Arguments("CsrfMiddleware")
        check.one_of("mode", mode, ("token", "headers", "log"))
        check.integer("max_form_bytes", max_form_bytes, minimum=1)
        check.done()
        self.app = app
        self._tokens = tokens
        self._policy = policy or OriginPolicy()
        self._mode = mode
        self._exempt = prefixes(exempt, "exempt")
        self._secure = secure
        self._cookie = "__Host-visitor" if secure else "visitor"
        self._session_cookie = session_cookie
        self._header = header_name.lower().encode()
        self._field = field_name
        self._max = max_form_bytes
        self._problems = problems or Problems()
        self._runtime = runtime

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        guard = scope[_KEY] = _Guard(scope, self._tokens, self._cookie)
        if scope.get("method") not in SAFE_METHODS and not matches(scope, self._exempt):
            if scope["type"] == "websocket":
                refused, passed = self._handshake(scope), receive
            else:
                refused, passed = await self._judge(scope, receive, guard)
            if refused is not None:
                self._emit(refused)
                if self._mode != "log":
                    if isinstance(passed, ReadBody):
                        passed.close()
                    await self._refuse(refused, scope, receive, send)
                    return
            receive = passed

        def remembering(message: Message) -> None:
            if guard.issued:
                self._mark(message, guard)

        send, hooks = on_start(scope, send, remembering)
        try:
            await self.app(scope, receive, send)
        finally:
            hooks.pop()
            if isinstance(receive, ReadBody):
                receive.close()

    def _mark(self, message: Message, guard: _Guard) -> None:
        """Keep a page with a token out of caches, and give a visitor without a cookie one."""
        if guard.fresh:
            flags = "; Secure" if self._secure else ""
            value = f"{self._cookie}={guard.visitor}; Path=/; HttpOnly; SameSite=Lax{flags}"
            add_header(message, b"set-cookie", value)
        set_default(message, b"cache-control", "no-store")
        add_header(message, b"vary", "Cookie")

    def _origin(self, scope: Scope, method: str) -> CsrfDecision:
        return self._policy.decide(
            method,
            host=header(scope, b"host"),
            scheme=scope.get("scheme", "").replace("wss", "https"),
            sec_fetch_site=[value.decode("latin-1") for value in headers(scope, b"sec-fetch-site")],
            origin=[value.decode("latin-1") for value in headers(scope, b"origin")],
            referer=[value.decode("latin-1") for value in headers(scope, b"referer")],
        )

    def _handshake(self, scope: Scope) -> str | None:
        # A handshake is a GET, but what follows acts with the visitor's cookies; it cannot carry a token.
        decision = self._origin(scope, "CONNECT")
        return None if decision.allowed else decision.reason

    async def _judge(self, scope: Scope, receive: Receive, guard: _Guard) -> tuple[str | None, Receive]:
        if self._bearer(scope):
            return None, receive
        decision = self._origin(scope, scope["method"])
        if not decision.allowed:
            return decision.reason, receive
        if self._mode == "headers" and decision.reason != "no_browser_headers":
            return None, receive
        token: str | None = header(scope, self._header) or None
        if token is None:
            token, receive = await field_of(scope, receive, self._field, self._max)
        if token is None:
            return "token_missing", receive
        return (None if guard.valid(token) else "token_invalid"), receive

    def _bearer(self, scope: Scope) -> bool:
        if header(scope, b"authorization")[:7].lower() != "bearer ":
            return False
        names = (self._cookie, self._session_cookie)
        return not any(
            cookie_values(each, name) for each in headers(scope, b"cookie") for name in names if name
        )

    def _emit(self, reason: str) -> None:
        if self._runtime.events.listened(CsrfRefused):
            self._runtime.events.emit(CsrfRefused(reason=reason, enforced=self._mode != "log"))

    async def _refuse(self, reason: str, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": reason})
            return
        error = CsrfError(f"the request was refused: {reason}", reason=reason)
        response = await self._problems.error(error, scope)
        response.headers["vary"] += ", Origin, Sec-Fetch-Site"
        await response(scope, receive, send)
