"""CSRF protection for forms and scripts.

In a template: ``<input type="hidden" name="csrf_token" value="{{ csrf_token(request) }}">``, first in the form; for
scripts the same token in a ``<meta>`` and sent as ``X-CSRF-Token``. JSON requests use the header.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from typing import Any, Final

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from prodkit.errors import CsrfError
from prodkit.sessions import CsrfDecision, CsrfTokens, OriginPolicy, Session
from prodkit.sessions.cookie import cookie_values
from prodkit.sessions.csrf import SAFE_METHODS
from prodkit.sessions.session import digest
from prodkit.web.asgi import add_header, header, headers, matches, prefixes, set_default
from prodkit.web.errors import Problems
from prodkit.web.form import field_of

__all__ = ["CsrfMiddleware", "csrf_token"]

_VISITOR: Final = re.compile(r"[A-Za-z0-9_-]{22}\Z")
_KEY: Final = "prodkit.csrf"


def csrf_token(request: HTTPConnection[Any] | Scope) -> str:
    """A token for the forms of the page that answers `request` (a request or its scope).

    Bound to the session, or for a visitor without one to a cookie that the response then sets.
    """
    scope: Any = request.scope if isinstance(request, HTTPConnection) else request
    guard = scope.get(_KEY)
    if guard is None:
        raise RuntimeError("csrf_token needs web.CsrfMiddleware around the app")
    assert isinstance(guard, _Guard)
    return guard.issue()


class _Guard:
    """What one request knows about its sender."""

    __slots__ = ("_scope", "_tokens", "fresh", "issued", "visitor")

    def __init__(self, scope: Scope, tokens: CsrfTokens, visitor: str | None) -> None:
        self._scope = scope
        self._tokens = tokens
        self.visitor = visitor
        self.fresh = False
        self.issued = False

    @property
    def _session(self) -> Session | None:
        found = self._scope.get("session")
        return found if isinstance(found, Session) else None

    def issue(self) -> str:
        self.issued = True
        session = self._session
        if session is not None and session.id is not None:
            return self._tokens.issue(_session_binding(session.id))
        if self.visitor is None:
            self.visitor = secrets.token_urlsafe(16)
            self.fresh = True
        return self._tokens.issue(b"visitor:" + self.visitor.encode())

    def valid(self, token: object) -> bool:
        session = self._session
        bindings = []
        if session is not None and session.id is not None:
            bindings.append(_session_binding(session.id))
        # A form that was served before the visitor had a session is good until somebody signs in.
        if self.visitor is not None and (session is None or session.owner is None):
            bindings.append(b"visitor:" + self.visitor.encode())
        return self._tokens.valid(token, bindings)


def _session_binding(session_id: str) -> bytes:
    return b"session:" + digest(session_id)


class CsrfMiddleware:
    """Refuses, with 403, requests that change something and did not come from our own pages.

    First ``Sec-Fetch-Site`` and ``Origin`` (`policy`), then the token: header `header_name` or form field
    `field_name`. `require_token` False asks for a token only where the browser sent neither header. `exempt` are
    path prefixes for callers that are no browsers and carry their own proof, such as signed webhooks. `secure`
    False drops ``__Host-`` from the visitor's cookie, for plain http. Belongs inside the session middleware.

    A multipart body is read only up to the token, at most `max_form_bytes`, and passed on as it came.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        tokens: CsrfTokens,
        policy: OriginPolicy | None = None,
        require_token: bool = True,
        exempt: Iterable[str] = (),
        secure: bool = True,
        header_name: str = "x-csrf-token",
        field_name: str = "csrf_token",
        max_form_bytes: int = 1_048_576,
        problems: Problems | None = None,
    ) -> None:
        self.app = app
        self._tokens = tokens
        self._policy = policy or OriginPolicy()
        self._require = require_token
        self._exempt = prefixes(exempt, "exempt")
        self._secure = secure
        self._cookie = "__Host-visitor" if secure else "visitor"
        self._header = header_name.lower().encode()
        self._field = field_name
        self._max = max_form_bytes
        self._problems = problems or Problems()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        guard = scope[_KEY] = _Guard(scope, self._tokens, self._visitor(scope))
        if not matches(scope, self._exempt):
            if scope["type"] == "websocket":
                refused, passed = self._handshake(scope), receive
            else:
                refused, passed = await self._judge(scope, receive, guard)
            if refused is not None:
                await self._refuse(refused, scope, receive, send)
                return
            receive = passed

        async def remembering(message: Message) -> None:
            if message["type"] == "http.response.start" and guard.issued:
                self._mark(message, guard)
            await send(message)

        await self.app(scope, receive, remembering)

    def _mark(self, message: Message, guard: _Guard) -> None:
        """A page with a token is of one visitor only, and who has no cookie yet gets one."""
        if guard.fresh:
            flags = "; Secure" if self._secure else ""
            value = f"{self._cookie}={guard.visitor}; Path=/; HttpOnly; SameSite=Lax{flags}"
            add_header(message, b"set-cookie", value)
        set_default(message, b"cache-control", "no-store")
        add_header(message, b"vary", "Cookie")

    def _visitor(self, scope: Scope) -> str | None:
        for each in headers(scope, b"cookie"):
            for value in cookie_values(each, self._cookie):
                if _VISITOR.match(value):
                    return value
        return None

    def _origin(self, scope: Scope, method: str) -> CsrfDecision:
        return self._policy.decide(
            method,
            host=header(scope, b"host"),
            sec_fetch_site=[value.decode("latin-1") for value in headers(scope, b"sec-fetch-site")],
            origin=[value.decode("latin-1") for value in headers(scope, b"origin")],
            referer=[value.decode("latin-1") for value in headers(scope, b"referer")],
        )

    def _handshake(self, scope: Scope) -> str | None:
        # A handshake is a GET, but what follows acts with the visitor's cookies; it cannot carry a token.
        decision = self._origin(scope, "CONNECT")
        return None if decision.allowed else decision.reason

    async def _judge(self, scope: Scope, receive: Receive, guard: _Guard) -> tuple[str | None, Receive]:
        method = scope["method"]
        if method in SAFE_METHODS:
            return None, receive
        decision = self._origin(scope, method)
        if not decision.allowed:
            return decision.reason, receive
        if not self._require and decision.reason != "no_browser_headers":
            return None, receive
        token: str | None = header(scope, self._header) or None
        if token is None:
            token, receive = await field_of(scope, receive, self._field, self._max)
        if token is None:
            return "token_missing", receive
        return (None if guard.valid(token) else "token_invalid"), receive

    async def _refuse(self, reason: str, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": reason})
            return
        error = CsrfError(f"the request was refused: {reason}", reason=reason)
        response = await self._problems.error(error, scope)
        await response(scope, receive, send)
