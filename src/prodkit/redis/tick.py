"""Calls of one tick of the event loop, sent together.

::

    tick 1   A join ─▶ None: sends for itself      nothing to wait for, so a lone call costs no detour
             B join ─▶ future ─┐
             C join ─▶ future ─┴─ end of the tick ─▶ send([B, C]) ─▶ results ─▶ B, C
    tick 2   D join ─▶ future ─ …                  the tick before had several: the first waits for the others, too

Each caller leaves at its own Deadline. Those of one Deadline share a timer, as the calls of one request do.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeAlias, TypeVar

from prodkit.core.deadline import Deadline
from prodkit.errors import DeadlineExceededError

__all__ = ["Tick"]

T = TypeVar("T")
R = TypeVar("R")
_Call: TypeAlias = "tuple[T, asyncio.Future[R], float]"


class Tick(Generic[T, R]):
    """Collects the calls of one tick.

    Args:
        send: takes what the calls ask for and returns a result for each, in order. Its error is every caller's.
        most: the calls that are sent together; further ones are sent beside them.
    """

    __slots__ = ("_busy", "_loop", "_most", "_send", "_several", "_waiting")

    def __init__(self, send: Callable[[list[T]], Awaitable[Sequence[R]]], most: int) -> None:
        self._send = send
        self._most = most
        self._loop: asyncio.AbstractEventLoop | None = None
        self._busy = self._several = False
        self._waiting: list[_Call[T, R]] = []

    def join(self, item: T) -> asyncio.Future[R] | None:
        """Return the future of a result, or None for a call that is the first of its tick and sends for itself.

        Args:
            item: given to `send`.
        """
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop, self._busy, self._several, self._waiting = loop, False, False, []
        if not self._busy:
            self._busy = True
            loop.call_soon(self._idle)
            if not self._several:
                return None
        future: asyncio.Future[R] = loop.create_future()
        if not self._waiting:
            loop.call_soon(self._flush)
        self._waiting.append((item, future, Deadline.instant()))
        return future

    def _idle(self) -> None:
        self._busy = False

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        self._several = len(waiting) > 1
        with Deadline.detached():
            for start in range(0, len(waiting), self._most):
                task = asyncio.ensure_future(self._answer(waiting[start : start + self._most]))
                task.add_done_callback(_consumed)

    async def _answer(self, calls: list[_Call[T, R]]) -> None:
        calls = [call for call in calls if not call[1].done()]  # without those that were cancelled
        if not calls:
            return
        timers = _timers(calls)
        try:
            results = await self._send([item for item, _, _ in calls])
        except BaseException as error:
            _fail(calls, error)
            calls = []  # the error holds this frame: without the futures, which hold the error, there is no circle
            raise
        finally:
            for timer in timers:
                timer.cancel()
        for (_, future, _), result in zip(calls, results, strict=True):
            if not future.done():
                future.set_result(result)


def _timers(calls: list[_Call[T, R]]) -> list[asyncio.TimerHandle]:
    by_deadline: dict[float, list[asyncio.Future[R]]] = {}
    for _, future, at in calls:
        if at != math.inf:
            by_deadline.setdefault(at, []).append(future)
    if not by_deadline:
        return []
    loop = asyncio.get_running_loop()
    now = loop.time()
    return [loop.call_at(at, _expire, futures, at - now) for at, futures in by_deadline.items()]


def _expire(futures: list[asyncio.Future[R]], limit: float) -> None:
    for future in futures:
        if not future.done():
            future.set_exception(
                DeadlineExceededError("the deadline passed while waiting for Redis", timeout=limit)
            )


def _consumed(task: asyncio.Task[None]) -> None:
    """Take note of the error: every caller has received it."""
    if not task.cancelled():
        task.exception()


def _fail(calls: list[_Call[T, R]], error: BaseException) -> None:
    for _, future, _ in calls:
        if not future.done():
            future.set_exception(error)
            future.exception()  # a caller that was cancelled does not look at it
