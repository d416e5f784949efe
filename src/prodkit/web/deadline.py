"""One instant by which a request has to be answered, seen by everything that it calls."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.types import ASGIApp, Receive, Scope, Send

from prodkit.core.deadline import Deadline
from prodkit.web.asgi import matches, prefixes

__all__ = ["DeadlineMiddleware"]


class DeadlineMiddleware:
    """Serves each request under ``Deadline.after(seconds)``.

    Pools, links, retries and clients of the kit then wait no longer than that, all together, and
    DeadlineExceededError becomes a 504. Paths in `skip` have none; an :class:`~prodkit.web.EventStream` leaves it
    behind when it begins. Code that waits by itself is not interrupted.
    """

    def __init__(self, app: ASGIApp, *, seconds: float, skip: Iterable[str] = ()) -> None:
        if not seconds > 0:
            raise ValueError(f"seconds must be positive, got {seconds!r}")
        self.app = app
        self._seconds = seconds
        self._skip = prefixes(skip, "skip")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or matches(scope, self._skip):
            await self.app(scope, receive, send)
            return
        with Deadline.after(self._seconds):
            await self.app(scope, receive, send)
