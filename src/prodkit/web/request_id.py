"""An id for each request, in its logs, its response and its error page."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from prodkit.core import correlation
from prodkit.web.asgi import header, on_start, set_default
from prodkit.web.proxy import trusted_peer

__all__ = ["RequestIdMiddleware", "current_request_id"]

_ACCEPTED: Final = re.compile(r"[A-Za-z0-9._-]{8,64}\Z")
_current: Final = correlation.request_id


_ids: Final[list[str]] = []
os.register_at_fork(after_in_child=_ids.clear)


def _new_id() -> str:
    """Return 128 random bits as 32 hexadecimal digits; the system is asked once for 64 of them."""
    try:
        return _ids.pop()
    except IndexError:
        drawn = secrets.token_hex(16 * 64)
        _ids.extend(drawn[at : at + 32] for at in range(32, len(drawn), 32))
        return drawn[:32]


def current_request_id() -> str | None:
    """Return the id of the request being served here, or None; tasks started by the request inherit it."""
    return _current.get()


class RequestIdMiddleware:
    """Give each request an id: ``request.state.request_id``, :func:`current_request_id`, ``X-Request-ID``.

    The id that a request brings is taken from a trusted proxy, or from everybody with `trust`, when it is 8 to 64
    letters, digits or ``._-``.

    Args:
        app: the ASGI app.
        trust: take the id from every peer: for services behind a proxy that always sets it.
        context: called with the id and entered around the request, for loggers:
            ``context=lambda rid: logger.contextualize(request_id=rid)``.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        trust: bool = False,
        context: Callable[[str], AbstractContextManager[object]] | None = None,
    ) -> None:
        self.app = app
        self._trust = trust
        self._context = context

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        trusted = self._trust or trusted_peer(scope)
        given = header(scope, b"x-request-id") if trusted else ""
        request_id = given if given and _ACCEPTED.match(given) else _new_id()
        scope.setdefault("state", {})["request_id"] = request_id

        send, hooks = on_start(scope, send, lambda message: set_default(message, b"x-request-id", request_id))
        token = _current.set(request_id)
        trace = correlation.traceparent.set(header(scope, b"traceparent") or None if trusted else None)
        try:
            if self._context is None:
                await self.app(scope, receive, send)
            else:
                with self._context(request_id):
                    await self.app(scope, receive, send)
        finally:
            hooks.pop()
            _current.reset(token)
            correlation.traceparent.reset(trace)
