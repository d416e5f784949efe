"""WebSockets that end with a reason when the process drains or the visitor's session ends."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from prodkit.web.drain import Drain
from prodkit.web.sessions import session_end

__all__ = ["SocketMiddleware"]

_CODES: Final = {"draining": 1012, "session_ended": 1008}
"""Service restart, and policy violation (RFC 6455, 7.4)."""


class SocketMiddleware:
    """Close a WebSocket when the drain begins (1012 ``draining``) or the session ends (1008 ``session_ended``).

    The handler sees a disconnect with that code. Put it inside the session middleware.

    Args:
        app: the ASGI app.
        drain: the process's drain; None where only sessions end sockets.
    """

    def __init__(self, app: ASGIApp, *, drain: Drain | None = None) -> None:
        self.app = app
        self._drain = drain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            await self.app(scope, receive, send)
            return
        await _Socket(self.app, self._drain, scope, receive, send).serve()


class _Socket:
    def __init__(self, app: ASGIApp, drain: Drain | None, scope: Scope, receive: Receive, send: Send) -> None:
        self._app = app
        self._drain = drain
        self._scope = scope
        self._receive = receive
        self._send = send
        self._accepted = asyncio.Event()
        self._closed: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def serve(self) -> None:
        watchers: dict[asyncio.Task[None], str] = {}
        if self._drain is not None:
            watchers[asyncio.create_task(self._drain.wait())] = "draining"
        ended = session_end(self._scope)
        if ended is not None:
            watchers[asyncio.create_task(ended)] = "session_ended"
        if not watchers:
            await self._app(self._scope, self._receive, self._send)
            return
        closing = asyncio.create_task(self._close_at(watchers))
        try:
            await self._app(self._scope, self._incoming, self._outgoing)
        finally:
            for task in (closing, *watchers):
                task.cancel()
            await asyncio.wait((closing, *watchers))

    async def _close_at(self, watchers: Mapping[asyncio.Task[None], str]) -> None:
        done, _ = await asyncio.wait(watchers, return_when=asyncio.FIRST_COMPLETED)
        await self._accepted.wait()
        reason = watchers[next(iter(done))]
        if not self._closed.done():
            self._closed.set_result(_CODES[reason])
            await self._send({"type": "websocket.close", "code": _CODES[reason], "reason": reason})

    async def _incoming(self) -> Message:
        receiving = asyncio.ensure_future(self._receive())
        try:
            await asyncio.wait((receiving, self._closed), return_when=asyncio.FIRST_COMPLETED)
            if receiving.done():
                return receiving.result()
            return {"type": "websocket.disconnect", "code": self._closed.result(), "reason": ""}
        finally:
            receiving.cancel()

    async def _outgoing(self, message: Message) -> None:
        if self._closed.done():
            raise OSError("the socket was closed")  # what a server raises: Starlette makes a disconnect of it
        if message["type"] == "websocket.close":
            self._closed.set_result(message.get("code", 1000))
        await self._send(message)
        if message["type"] == "websocket.accept":
            self._accepted.set()
