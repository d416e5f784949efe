"""The line in front of a limit, and limited places: what Bulkhead, AdaptiveLimit and RetryAfterGate share.

Belongs to one event loop at a time; no lock, because no stretch that reads and then writes holds an ``await``.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable
from typing import Literal, TypeAlias

__all__ = ["Line", "Order", "Refusal", "Slots"]

Order: TypeAlias = Literal["fifo", "lifo", "adaptive"]
"""Who is served first: the oldest waiter, the newest, or the newest only while the line stands still.

Under overload the oldest waiters are those whose callers are about to give up: serving them first means that
everybody is served too late. ``adaptive`` turns to newest first once the oldest has waited `patience` seconds.
"""

Refusal: TypeAlias = Literal["full", "late", "displaced"]
"""Why a caller got no place: the line is full, its time ran out, or a newer caller took its place in the line."""


class Line:
    """Callers that wait for their turn, at most `max_waiting`; none waits beyond the instant it names.

    `lost` is called when a caller whose turn had come was cancelled before it could take it.
    """

    __slots__ = ("_lost", "_waiters", "max_waiting", "order", "patience")

    def __init__(
        self, *, max_waiting: int, order: Order, lost: Callable[[], None], patience: float = 0.1
    ) -> None:
        self.max_waiting = max_waiting
        self.order = order
        self.patience = patience
        self._lost = lost
        self._waiters: deque[_Waiter] = deque()  # oldest first; never replaced, Slots looks at it too

    def __len__(self) -> int:
        return len(self._waiters)

    async def wait(self, latest: float) -> Refusal | None:
        """Waits for the caller's turn until the loop's instant `latest`; None means that it has come.

        A caller that is cancelled or closed while it waits leaves nothing behind, also when its turn had just come.
        """
        loop = asyncio.get_running_loop()
        now = loop.time()
        self.meet(loop)
        if latest <= now:
            return "late"
        if len(self._waiters) >= self.max_waiting:
            for each in [each for each in self._waiters if each.turn.cancelled()]:
                self._waiters.remove(each)
        if len(self._waiters) >= self.max_waiting:
            if self.max_waiting == 0 or not self._newest_first(now):
                return "full"
            self._waiters.popleft().settle("displaced")
        waiter = _Waiter(loop.create_future(), now)
        if latest != math.inf:
            waiter.timer = loop.call_at(latest, self._expire, waiter)
        self._waiters.append(waiter)
        try:
            return await waiter.turn
        except BaseException:  # cancelled, or closed by whoever drives the coroutine
            turn = waiter.turn
            if turn.done() and not turn.cancelled():
                if turn.result() is None:
                    self._lost()
            elif waiter in self._waiters:
                self._waiters.remove(waiter)
            raise
        finally:
            if waiter.timer is not None:
                waiter.timer.cancel()

    def call(self) -> bool:
        """It is the next one's turn; False when nobody waits."""
        while self._waiters:
            loop = self._waiters[0].turn.get_loop()  # theirs: a place may come back where no loop runs
            if loop.is_closed():
                self._waiters.clear()
                return False
            # A waiter cancelled in this iteration has not left yet; its age must not decide the order of the others.
            while self._waiters and self._waiters[0].turn.cancelled():
                self._waiters.popleft()
            if not self._waiters:
                return False
            waiter = self._waiters.pop() if self._newest_first(loop.time()) else self._waiters.popleft()
            if not waiter.turn.cancelled():  # cancelled this very moment, it has not left the line yet
                waiter.settle(None)
                return True
        return False

    def meet(self, loop: asyncio.AbstractEventLoop) -> None:
        """The line is about to be used on `loop`: callers of a loop that is no more are forgotten.

        Raises:
            RuntimeError: others wait on another event loop that still lives.
        """
        if self._waiters and (other := self._waiters[0].turn.get_loop()) is not loop:
            if not other.is_closed():
                raise RuntimeError("this limit is waited for on another event loop: make one for each loop")
            self._waiters.clear()  # a loop that was closed with its tasks unfinished

    def _newest_first(self, now: float) -> bool:
        if self.order == "adaptive":
            return bool(self._waiters) and now - self._waiters[0].since >= self.patience
        return self.order == "lifo"

    def _expire(self, waiter: _Waiter) -> None:
        if not waiter.turn.cancelled():
            self._waiters.remove(waiter)
            waiter.settle("late")


class _Waiter:
    __slots__ = ("since", "timer", "turn")

    def __init__(self, turn: asyncio.Future[Refusal | None], since: float) -> None:
        self.turn = turn
        self.since = since
        self.timer: asyncio.TimerHandle | None = None

    def settle(self, verdict: Refusal | None) -> None:
        if self.timer is not None:
            self.timer.cancel()
        self.turn.set_result(verdict)


class Slots:
    """At most `limit` holders at once, with a :class:`Line` in front."""

    __slots__ = ("_waiters", "inflight", "limit", "line")

    def __init__(self, limit: int, *, max_queue: int, order: Order) -> None:
        self.limit = limit
        self.inflight = 0
        self.line = Line(max_waiting=max_queue, order=order, lost=self.leave)
        self._waiters = self.line._waiters  # asked on every call: a deque answers faster than a method

    @property
    def waiting(self) -> int:
        """How many wait in the line."""
        return len(self.line)

    async def wait(self, latest: float) -> Refusal | None:
        """Waits in the line until the loop's instant `latest`; None means that the caller now holds a place."""
        return await self.line.wait(latest)

    def enter(self) -> bool:
        """Takes a place if one is free and nobody waits for it."""
        if self.inflight < self.limit and not self._waiters:
            self.inflight += 1
            return True
        return False

    def leave(self) -> None:
        """Gives a place back."""
        self.inflight -= 1
        if self._waiters:
            self.admit()

    def admit(self) -> None:
        """Hands free places to waiters; to be called when the limit has grown, too."""
        while self.inflight < self.limit and self.line.call():
            self.inflight += 1
