"""Places for calls, and the line in front of them: what Bulkhead and AdaptiveLimit share.

Belongs to one event loop; no lock, because no stretch that reads and then writes holds an ``await``.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Literal, TypeAlias

__all__ = ["Order", "Refusal", "Slots"]

Order: TypeAlias = Literal["fifo", "lifo", "adaptive"]
"""Who is served first: the oldest waiter, the newest, or the newest only while the line stands still.

Under overload the oldest waiters are those whose callers are about to give up: serving them first means that
everybody is served too late. ``adaptive`` turns to newest first once the oldest has waited `patience` seconds.
"""

Refusal: TypeAlias = Literal["full", "late", "displaced"]
"""Why a caller got no place: the line is full, its time ran out, or a newer caller took its place in the line."""


class _Waiter:
    __slots__ = ("granted", "since", "timer")

    def __init__(self, granted: asyncio.Future[Refusal | None], since: float) -> None:
        self.granted = granted
        self.since = since
        self.timer: asyncio.TimerHandle | None = None


class Slots:
    """At most `limit` holders at once; at most `max_queue` wait, none beyond the instant it names."""

    __slots__ = ("_line", "inflight", "limit", "max_queue", "order", "patience")

    def __init__(self, limit: int, *, max_queue: int, order: Order, patience: float = 0.1) -> None:
        self.limit = limit
        self.max_queue = max_queue
        self.order = order
        self.patience = patience
        self.inflight = 0
        self._line: deque[_Waiter] = deque()  # oldest first

    @property
    def waiting(self) -> int:
        return len(self._line)

    def enter(self) -> bool:
        """Takes a place if one is free and nobody waits for it."""
        if self.inflight < self.limit and not self._line:
            self.inflight += 1
            return True
        return False

    async def wait(self, latest: float) -> Refusal | None:
        """Waits for a place until the loop's instant `latest`. None means that the caller now holds one.

        A caller that is cancelled while it waits leaves nothing behind, also when its place had just been granted.
        """
        loop = asyncio.get_running_loop()
        now = loop.time()
        if latest <= now:
            return "late"
        if len(self._line) >= self.max_queue:
            if self.max_queue == 0 or not self._newest_first(now):
                return "full"
            oldest = self._line.popleft()
            if not oldest.granted.cancelled():
                self._settle(oldest, "displaced")
        waiter = _Waiter(loop.create_future(), now)
        if latest != float("inf"):
            waiter.timer = loop.call_at(latest, self._expire, waiter)
        self._line.append(waiter)
        try:
            return await waiter.granted
        except asyncio.CancelledError:
            granted = waiter.granted
            if granted.done() and not granted.cancelled():
                if granted.result() is None:
                    self.leave()
            elif waiter in self._line:
                self._line.remove(waiter)
            raise
        finally:
            if waiter.timer is not None:
                waiter.timer.cancel()

    def leave(self) -> None:
        """Gives a place back."""
        self.inflight -= 1
        self.admit()

    def admit(self) -> None:
        """Hands free places to waiters; to be called when the limit has grown, too."""
        while self._line and self.inflight < self.limit:
            waiter = self._next()
            if not waiter.granted.cancelled():  # cancelled this very moment, it has not left the line yet
                self.inflight += 1
                self._settle(waiter, None)

    def _next(self) -> _Waiter:
        if len(self._line) > 1 and self.order != "fifo":
            now = asyncio.get_running_loop().time()
            return self._line.pop() if self._newest_first(now) else self._line.popleft()
        return self._line.popleft()

    def _newest_first(self, now: float) -> bool:
        if self.order == "adaptive":
            return bool(self._line) and now - self._line[0].since >= self.patience
        return self.order == "lifo"

    def _expire(self, waiter: _Waiter) -> None:
        if not waiter.granted.cancelled():
            self._line.remove(waiter)
            self._settle(waiter, "late")

    @staticmethod
    def _settle(waiter: _Waiter, verdict: Refusal | None) -> None:
        if waiter.timer is not None:
            waiter.timer.cancel()
        waiter.granted.set_result(verdict)
