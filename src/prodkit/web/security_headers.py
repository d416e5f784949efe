"""Security headers on every response, whoever made it: pages, errors, files, streams."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["CONTENT_SECURITY_POLICY", "SecurityHeadersMiddleware"]

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""Everything from our own origin, nothing inline, no plug-in, no frame."""

_STRICT: Final = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # Not no-referrer: browsers then send `Origin: null` with our own forms, which CSRF protection must refuse.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}


class SecurityHeadersMiddleware:
    """Adds the headers that a response does not have yet, so a route can set its own.

    `csp` is the Content-Security-Policy, `extra` adds or, with None, removes headers. `hsts` are the seconds of
    Strict-Transport-Security, sent over https only; 0 sends none. Put it outermost.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        csp: str = CONTENT_SECURITY_POLICY,
        hsts: int = 31_536_000,
        extra: Mapping[str, str | None] | None = None,
    ) -> None:
        if hsts < 0:
            raise ValueError(f"hsts must not be negative, got {hsts!r}")
        wanted: dict[str, str | None] = {"content-security-policy": csp, **_STRICT}
        wanted.update({name.lower(): value for name, value in (extra or {}).items()})
        for name, value in wanted.items():
            if value is not None and ("\n" in value or "\r" in value):
                raise ValueError(f"{name} is one line, got {value!r}")
        self.app = app
        self._headers = [
            (name.encode(), value.encode("latin-1")) for name, value in wanted.items() if value is not None
        ]
        self._secure = list(self._headers)
        if hsts and "strict-transport-security" not in wanted:
            self._secure.append((b"strict-transport-security", f"max-age={hsts}".encode()))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        wanted = self._secure if scope.get("scheme") == "https" else self._headers

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = message.get("headers", ())
                names = {name.lower() for name, _ in present}
                message["headers"] = [*present, *(pair for pair in wanted if pair[0] not in names)]
            await send(message)

        await self.app(scope, receive, guarded)
