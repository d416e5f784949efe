"""``request.session``, loaded before the handler and saved before the response begins."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from prodkit.sessions import Session, Sessions
from prodkit.web.asgi import add_header, headers, matches, prefixes, set_default

__all__ = ["SessionMiddleware", "session_of"]


def session_of(request: HTTPConnection[Any]) -> Session:
    """The session of a request: ``request.session`` with its type."""
    session = request.scope.get("session")
    if isinstance(session, Session):
        return session
    raise RuntimeError(
        f"no session at {request.scope.get('path')}: SessionMiddleware is missing or skips this path"
    )


class SessionMiddleware:
    """Puts a :class:`~prodkit.sessions.Session` under ``request.session``.

    A request without a cookie of ours asks nothing of the store. Paths in `skip` have no session at all: static
    files and health checks, which must not depend on the database. When the store fails, so does the request,
    with the store's error; nothing is served as if nobody were signed in.

    Saving happens when the response begins, so an error of the store still becomes a 503. What a stream writes
    later is saved at its end, but a login or a first write is then too late for its cookie, and raises.
    """

    def __init__(self, app: ASGIApp, *, sessions: Sessions, skip: Iterable[str] = ()) -> None:
        self.app = app
        self._sessions = sessions
        self._skip = prefixes(skip, "skip")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or matches(scope, self._skip):
            await self.app(scope, receive, send)
            return
        session = scope["session"] = await self._sessions.open(headers(scope, b"cookie"))
        begun = False

        async def saving(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start" and not begun:
                cookie = await self._sessions.save(session, discard=message["status"] >= 500)
                begun = True
                _mark(message, session, cookie)
                session.accessed = False
            await send(message)

        try:
            await self.app(scope, receive, saving)
        except Exception:
            if not begun:
                await self._sessions.save(session, discard=True)
            raise
        if session.accessed:
            await self._late(session)

    async def _late(self, session: Session) -> None:
        if session.rotation is not None or (session.id is None and session):
            raise RuntimeError("the response had begun: the browser cannot be given a session any more")
        await self._sessions.save(session)


def _mark(message: Message, session: Session, cookie: str | None) -> None:
    if cookie is not None:
        add_header(message, b"set-cookie", cookie)
    if cookie is not None or session.owner is not None:
        set_default(message, b"cache-control", "no-store")
    if session.accessed or cookie is not None:
        add_header(message, b"vary", "Cookie")
