"""No body larger than a photo and its form."""

from __future__ import annotations

from typing import Final

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["MAX_BODY", "BodyLimit"]

MAX_BODY: Final = 6 * 2**20
_MAX_DISCARDED: Final = 64 * 2**20


class BodyLimit:
    """Raises 413 where the handler reads beyond `limit`, so that the app's own error page answers.

    What follows is read and thrown away, up to a bound: a browser that is cut off while it sends shows a lost
    connection instead of the page. Belongs innermost.
    """

    def __init__(self, app: ASGIApp, *, limit: int = MAX_BODY) -> None:
        self.app = app
        self.limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen <= self.limit:
                return message
            while message.get("more_body") and seen <= _MAX_DISCARDED:
                message = await receive()
                seen += len(message.get("body", b""))
            raise HTTPException(413)

        await self.app(scope, counted, send)
