"""A bounded wait queue and the slots behind it: shared by Bulkhead, AdaptiveLimit and RetryAfterGate.

Both belong to one event loop at a time. There is no lock, because no stretch that reads and then writes holds an
``await``.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable
from typing import Literal, TypeAlias

__all__ = ["Order", "Refusal", "Slots", "WaitQueue"]

Order: TypeAlias = Literal["fifo", "lifo", "adaptive", "deadline"]
"""The order in which waiters are served: oldest first, newest first, newest first only while the queue stands still,
or the nearest deadline first.

Under overload the oldest waiters are those whose callers are about to give up, and serving them first means that
every answer comes too late. ``adaptive`` therefore turns to newest first once the oldest has waited `standstill`
seconds.
"""

Refusal: TypeAlias = Literal["full", "late", "displaced"]
"""The reason why a caller got no slot: the queue is full, its time ran out, or another caller took its place."""


class WaitQueue:
    """Callers waiting for their turn; none waits beyond the instant it names.

    Higher priorities are served first; `order` decides among equals. A full queue lets the last in line of the lowest
    priority go when a caller of a higher one arrives::

        max_waiting=2, fifo         [a:0 b:0] + c:1  ->  [a:0 c:1]   b is displaced, c is served before a

    Args:
        max_waiting: capacity of the queue.
        order: see :data:`Order`.
        lost: called when a caller whose turn had come was cancelled before it could take it.
        standstill: seconds that the oldest must have waited for ``adaptive`` to turn to newest first.
    """

    __slots__ = ("_lost", "_ranked", "_waiters", "max_waiting", "order", "standstill")

    def __init__(
        self, *, max_waiting: int, order: Order, lost: Callable[[], None], standstill: float = 0.1
    ) -> None:
        self.max_waiting: int = max_waiting
        self.order: Order = order
        self.standstill: float = standstill
        self._lost = lost
        self._ranked = False  # a waiter with a priority, or with a deadline that orders, has come
        self._waiters: deque[_Waiter] = deque()  # oldest first; never replaced, Slots looks at it too

    def __len__(self) -> int:
        return len(self._waiters)

    async def wait(self, latest: float, priority: int = 0) -> Refusal | None:
        """Wait for the caller's turn until the loop's instant `latest`; None means that it has come.

        A caller that is cancelled or closed while it waits leaves nothing behind, also if its turn had just come.

        Args:
            latest: the loop's instant after which the turn is of no use; ``math.inf`` for none.
            priority: higher ones are served first.
        """
        loop = asyncio.get_running_loop()
        now = loop.time()
        self.meet(loop)
        if latest <= now:
            return "late"
        if priority or self.order == "deadline":
            self._ranked = True
        if len(self._waiters) >= self.max_waiting:
            for each in [each for each in self._waiters if each.turn.cancelled()]:
                self._waiters.remove(each)
        if len(self._waiters) >= self.max_waiting and not self._displace(now, priority):
            return "full"
        waiter = _Waiter(loop.create_future(), now, latest, priority)
        if latest != math.inf:
            waiter.timer = loop.call_at(latest, self._expire, waiter)
        self._waiters.append(waiter)
        try:
            return await waiter.turn
        except BaseException:  # cancelled, or its coroutine was closed
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
        """Give the next waiter its turn; return False if none waits."""
        while self._waiters:
            loop = self._waiters[
                0
            ].turn.get_loop()  # the waiters' loop: a slot may come back where no loop runs
            if loop.is_closed():
                self._waiters.clear()
                return False
            waiter = self._next(loop.time())
            if not waiter.turn.cancelled():  # cancelled at this very moment, it has not left the queue yet
                waiter.settle(None)
                return True
        return False

    def meet(self, loop: asyncio.AbstractEventLoop) -> None:
        """Prepare for use on `loop`: waiters of a loop that was closed are forgotten.

        Raises:
            RuntimeError: others wait on another event loop that still lives.
        """
        if self._waiters and (other := self._waiters[0].turn.get_loop()) is not loop:
            if not other.is_closed():
                raise RuntimeError("this limit is waited for on another event loop: make one for each loop")
            self._waiters.clear()  # a loop that was closed with its tasks unfinished

    def _next(self, now: float) -> _Waiter:
        waiters = self._waiters
        if not self._ranked:
            return waiters.pop() if self._newest_first(now) else waiters.popleft()
        highest = max(each.priority for each in waiters)
        equals = [each for each in waiters if each.priority == highest]
        if self.order == "deadline":
            chosen = min(equals, key=lambda each: each.latest)
        else:
            chosen = equals[-1 if self._newest_first(now) else 0]
        waiters.remove(chosen)
        return chosen

    def _displace(self, now: float, priority: int) -> bool:
        """Make room for a caller of `priority` in a full queue; return False if it has to be refused."""
        waiters = self._waiters
        if not waiters:
            return False
        lowest = min(each.priority for each in waiters) if self._ranked else 0
        newest_first = self._newest_first(now)
        if priority < lowest or (priority == lowest and not newest_first):
            return False
        equals = [each for each in waiters if each.priority == lowest]
        gone = equals[0 if newest_first else -1]
        waiters.remove(gone)
        gone.settle("displaced")
        return True

    def _newest_first(self, now: float) -> bool:
        if self.order == "adaptive":
            return bool(self._waiters) and now - self._waiters[0].since >= self.standstill
        return self.order == "lifo"

    def _expire(self, waiter: _Waiter) -> None:
        if not waiter.turn.cancelled():
            self._waiters.remove(waiter)
            waiter.settle("late")


class _Waiter:
    __slots__ = ("latest", "priority", "since", "timer", "turn")

    def __init__(
        self, turn: asyncio.Future[Refusal | None], since: float, latest: float, priority: int
    ) -> None:
        self.turn: asyncio.Future[Refusal | None] = turn
        self.since: float = since
        self.latest: float = latest
        self.priority: int = priority
        self.timer: asyncio.TimerHandle | None = None

    def settle(self, verdict: Refusal | None) -> None:
        if self.timer is not None:
            self.timer.cancel()
        self.turn.set_result(verdict)


class Slots:
    """At most `limit` holders at once, with a :class:`WaitQueue` in front.

    Args:
        limit: number of slots; assign :attr:`limit` and call :meth:`admit` to change it.
        max_queue: callers that may wait.
        order: see :data:`Order`.
    """

    __slots__ = ("_waiters", "inflight", "limit", "queue")

    def __init__(self, limit: int, *, max_queue: int, order: Order) -> None:
        self.limit: int = limit
        self.inflight: int = 0
        self.queue: WaitQueue = WaitQueue(max_waiting=max_queue, order=order, lost=self.leave)
        self._waiters = self.queue._waiters  # asked on every call: a deque answers faster than a method

    @property
    def waiting(self) -> int:
        """The number of callers in the queue."""
        return len(self.queue)

    async def wait(self, latest: float, priority: int = 0) -> Refusal | None:
        """Wait until the loop's instant `latest`; None means that the caller now holds a slot.

        Args:
            latest: the loop's instant after which a slot is of no use.
            priority: higher ones are served first.
        """
        return await self.queue.wait(latest, priority)

    def enter(self) -> bool:
        """Take a slot if one is free and no other caller waits for it."""
        if self.inflight < self.limit and not self._waiters:
            self.inflight += 1
            return True
        return False

    def leave(self) -> None:
        """Give a slot back."""
        self.inflight -= 1
        if self._waiters:
            self.admit()

    def admit(self) -> None:
        """Hand free slots to waiters; to be called after the limit has grown, too."""
        while self.inflight < self.limit and self.queue.call():
            self.inflight += 1
