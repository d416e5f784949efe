"""One instant by which a request has to be answered, in force for everything that it calls."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable
from typing import Any, Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from prodkit.core.deadline import _current
from prodkit.core.validate import Arguments
from prodkit.errors import DeadlineExceededError
from prodkit.web.asgi import header, matches, on_start, prefixes
from prodkit.web.proxy import trusted_peer

__all__ = ["HEADER", "DeadlineMiddleware"]

HEADER: Final = "X-Deadline-Ms"
"""The milliseconds that the caller still waits, as ``http.ResilientTransport`` sends them."""


class _Entry:
    """One request under a timer."""

    __slots__ = ("_timer", "expired", "task", "when")

    def __init__(self, timer: _Timer, task: asyncio.Task[Any], when: float) -> None:
        self._timer = timer
        self.task = task
        self.when = when
        self.expired = False

    def stop(self, message: Message | None = None) -> None:
        """Take the request off the timer: it ended, or its response begins with `message`."""
        self._timer.entries.pop(self, None)


class _Timer:
    """Cancels requests when their time is over: one loop timer for all of them instead of one each.

    All requests have the same time, so the first to begin is the first to expire, and a dict in the order of insertion
    is a queue with removal in O(1)::

        entries   a(10.0) b(10.2) c(10.7)     one call_at(10.0)
        a answered at 3.1                     b(10.2) c(10.7); at 10.0 nothing is due: call_at(10.2)

    ``asyncio.timeout`` for each request costs five times as much.
    """

    __slots__ = ("_handle", "_loop", "entries")

    def __init__(self) -> None:
        self.entries: dict[_Entry, None] = {}
        self._handle: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def add(self, task: asyncio.Task[Any], seconds: float) -> _Entry:
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self.entries, self._handle, self._loop = {}, None, loop
        entry = _Entry(self, task, loop.time() + seconds)
        self.entries[entry] = None
        if self._handle is None:
            self._handle = loop.call_at(entry.when, self._fire, loop)
        return entry

    def _fire(self, loop: asyncio.AbstractEventLoop) -> None:
        self._handle = None
        now = loop.time()
        while self.entries:
            entry = next(iter(self.entries))
            if entry.when > now:
                self._handle = loop.call_at(entry.when, self._fire, loop)
                return
            del self.entries[entry]
            entry.expired = True
            entry.task.cancel()


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
        self._seconds = None if seconds is None else float(seconds)
        self._skip = prefixes(skip, "skip")
        self._timer = _Timer()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or matches(scope, self._skip):
            await self.app(scope, receive, send)
            return
        seconds = self._limit(scope)
        if seconds is None:
            await self.app(scope, receive, send)
            return
        task = asyncio.current_task()
        assert task is not None
        entry = self._timer.add(task, seconds) if seconds == self._seconds else _Timer().add(task, seconds)
        before = task.cancelling()

        send, hooks = on_start(scope, send, entry.stop)
        token = _current.set(
            min(entry.when, _current.get())
        )  # as `with Deadline.after` does, of one clock reading
        try:
            await self.app(scope, receive, send)
        except asyncio.CancelledError:
            if entry.expired and task.uncancel() <= before:
                entry.expired = False
                raise DeadlineExceededError(f"the request was not answered in {seconds:g} s") from None
            raise
        finally:
            _current.reset(token)
            hooks.pop()
            entry.stop()
            if entry.expired:  # the handler caught the cancellation
                task.uncancel()

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
