"""One instant by which a request has to be answered, in force for everything that it calls."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from prodkit.core.deadline import Deadline
from prodkit.core.validate import Arguments
from prodkit.errors import DeadlineExceededError
from prodkit.web.asgi import header, matches, prefixes
from prodkit.web.proxy import trusted_peer

__all__ = ["HEADER", "DeadlineMiddleware"]

HEADER: Final = "X-Deadline-Ms"
"""The milliseconds that the caller still waits, as ``http.ResilientTransport`` sends them."""


class DeadlineMiddleware:
    """Serve each request under ``Deadline.after(seconds)``, and cancel the handler when it passes.

    Pools, links, retries and clients of the kit wait no longer than that, all together. A wait on something foreign
    is cancelled; both become a 504. The deadline is for the beginning of the answer: a response that has begun is not
    cut, and an :class:`~prodkit.web.EventStream` leaves the deadline behind. A synchronous handler runs in a thread,
    which cannot be stopped: the client gets its 504, and the thread finishes alone.

    A trusted peer (``trusted_proxies`` of :func:`~prodkit.web.install`) can shorten it with ``X-Deadline-Ms``.

    Args:
        app: the ASGI app.
        seconds: the longest time; None leaves only what a trusted peer asks for.
        skip: path prefixes without a deadline.
    """

    def __init__(self, app: ASGIApp, *, seconds: float | None, skip: Iterable[str] = ()) -> None:
        check = Arguments("DeadlineMiddleware")
        check.seconds("seconds", seconds, optional=True)
        check.done()
        self.app = app
        self._seconds = seconds
        self._skip = prefixes(skip, "skip")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or matches(scope, self._skip):
            await self.app(scope, receive, send)
            return
        seconds = self._limit(scope)
        if seconds is None:
            await self.app(scope, receive, send)
            return
        limit = asyncio.timeout(seconds)

        async def begun(message: Message) -> None:
            if limit.when() is not None and not limit.expired() and message["type"] == "http.response.start":
                limit.reschedule(None)
            await send(message)

        with Deadline.after(seconds):
            try:
                async with limit:
                    await self.app(scope, receive, begun)
            except TimeoutError as error:
                if limit.expired():
                    raise DeadlineExceededError(f"the request was not answered in {seconds:g} s") from error
                raise

    def _limit(self, scope: Scope) -> float | None:
        if trusted_peer(scope) and (text := header(scope, HEADER.lower().encode())):
            try:
                given = float(text) / 1000
            except ValueError:
                given = math.nan
            if math.isfinite(given):
                given = max(given, 0.001)
                return given if self._seconds is None else min(given, self._seconds)
        return self._seconds
