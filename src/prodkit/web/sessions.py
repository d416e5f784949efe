"""``request.session``, loaded before the handler and saved before the response begins."""

from __future__ import annotations

from collections.abc import Coroutine, Iterable
from typing import Any, Final

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from prodkit.sessions import Session, Sessions
from prodkit.web.asgi import add_header, header, headers, matches, on_start, prefixes, set_default

__all__ = ["SessionMiddleware", "session_end", "session_of"]

_KEY: Final = "prodkit.sessions"


def session_of(request: HTTPConnection[Any]) -> Session:
    """Return the session of `request`: ``request.session`` with its type.

    Raises:
        RuntimeError: the middleware is missing or skips this path.
    """
    session = request.scope.get("session")
    if isinstance(session, Session):
        return session
    raise RuntimeError(
        f"no session at {request.scope.get('path')}: SessionMiddleware is missing or skips this path"
    )


def session_end(scope: Scope) -> Coroutine[Any, Any, None] | None:
    """Return a coroutine that returns when the visitor's session ends, or None without a signed-in user."""
    session, sessions = scope.get("session"), scope.get(_KEY)
    if not isinstance(session, Session) or not isinstance(sessions, Sessions):
        return None
    if session.owner is None or session.id is None or session.rotation is not None:
        return None
    return sessions.wait_ended(session)


class SessionMiddleware:
    """Put a :class:`~prodkit.sessions.Session` under ``request.session``.

    A request without a cookie of ours asks nothing of the store. When the store fails, so does the request, with the
    store's error; it is never served as if its user were signed out.

    Saving happens when the response begins, so an error of the store still becomes a 503. What a stream writes
    later is saved at its end, but a login or a first write is then too late for its cookie, and raises. An event
    stream and a WebSocket of a signed-in user end when the session does.

    Args:
        app: the ASGI app.
        sessions: the sessions.
        skip: path prefixes without a session: static files and health checks, which must not depend on the database.
        clear_site_data: value of the ``Clear-Site-Data`` header at a logout, over https; empty for none. ``"cookies"``
            would also clear the cookies of sibling subdomains.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        sessions: Sessions,
        skip: Iterable[str] = (),
        clear_site_data: str = '"cache", "storage"',
    ) -> None:
        self.app = app
        self._sessions = sessions
        self._skip = prefixes(skip, "skip")
        self._clear = clear_site_data

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or matches(scope, self._skip):
            await self.app(scope, receive, send)
            return
        session = scope["session"] = await self._sessions.open(headers(scope, b"cookie"))
        scope[_KEY] = self._sessions
        session.device = header(scope, b"user-agent")
        client = scope.get("client")
        session.address = str(client[0]) if client else ""
        begun = False

        def beginning(message: Message) -> Coroutine[Any, Any, None] | None:
            nonlocal begun
            if begun or (session.id is None and not session.accessed):  # not looked at
                begun = True
                return None
            return saving(message)

        async def saving(message: Message) -> None:
            nonlocal begun
            ended = bool(session.ended)
            cookie = await self._sessions.save(session, discard=message["status"] >= 500)
            begun = True
            _mark(message, session, cookie)
            if ended and session.owner is None and self._clear and scope.get("scheme") == "https":
                set_default(message, b"clear-site-data", self._clear)
            session.accessed = False

        send, hooks = on_start(scope, send, beginning)
        try:
            await self.app(scope, receive, send)
        except Exception:
            if not begun:
                await self._sessions.save(session, discard=True)
            raise
        finally:
            hooks.pop()
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
