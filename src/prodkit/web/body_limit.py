"""No body larger than the app wants."""

from __future__ import annotations

from typing import Final

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from prodkit.core.validate import Arguments
from prodkit.web.asgi import header

__all__ = ["MAX_BODY", "BodyLimitMiddleware"]

MAX_BODY: Final = 64 * 2**20
"""64 MiB: far above forms and photos, far below the memory of a process."""
_MAX_DISCARDED: Final = 8 * 2**20


class BodyLimitMiddleware:
    """Answer 413 to a request whose body is larger than `max_bytes`.

    A declared length is refused before the handler runs. A body without one is counted, and reading beyond the limit
    raises ``HTTPException(413)``. Up to 8 MiB of the rest are read and dropped: a browser that is cut off while it
    sends shows a lost connection instead of the answer. (Starlette's ``RequestBodyLimitMiddleware`` answers in plain
    text and exists since 1.10 only.)

    Args:
        app: the ASGI app.
        max_bytes: the limit.
    """

    def __init__(self, app: ASGIApp, *, max_bytes: int = MAX_BODY) -> None:
        check = Arguments("BodyLimitMiddleware")
        check.integer("max_bytes", max_bytes, minimum=0)
        check.done()
        self.app = app
        self._max = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        declared = header(scope, b"content-length")
        if declared.isdigit() and int(declared) > self._max:
            await _drop(receive)
            raise HTTPException(413)
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen <= self._max:
                return message
            if message.get("more_body", False):
                await _drop(receive)
            raise HTTPException(413)

        await self.app(scope, counted, send)


async def _drop(receive: Receive) -> None:
    dropped, more = 0, True
    while more and dropped <= _MAX_DISCARDED:
        message = await receive()
        dropped += len(message.get("body", b""))
        more = message.get("more_body", False)
