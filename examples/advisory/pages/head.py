"""HEAD for every page: monitors and link checkers ask with it."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["Head"]


class Head:
    """Answers HEAD as GET; the server leaves the body out. Streams, which have no end, go on refusing it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "HEAD" and not scope["path"].endswith("/eventos"):
            scope = {**scope, "method": "GET"}
        await self.app(scope, receive, send)
