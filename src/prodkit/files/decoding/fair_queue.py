"""Slots shared fairly: keys take turns, the callers of one key are served first come, first served.

::

    queue of user 1:  a1 a2 a3 ... a100          served: a1 b1 a2 b2 a3 ...
    queue of user 2:  b1 b2                      one user's hundred files do not delay another's two

Safe for several event loops and threads, because all validators of a process share one sandbox.
"""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prodkit.errors import BulkheadFullError

__all__ = ["FairQueue"]


class FairQueue:
    """A number of slots, and callers that wait for one.

    Args:
        name: of the bulkhead, in errors.
        slots: callers that run at once.
        max_queue: callers that wait at once, over all keys.
    """

    def __init__(self, name: str, slots: int, max_queue: int) -> None:
        self.name = name
        self.slots = slots
        self.max_queue = max_queue
        self._free = slots
        self._lock = threading.Lock()
        self._queues: OrderedDict[str, deque[_Waiter]] = (
            OrderedDict()
        )  # the next key to be served comes first
        self._waiting = 0

    @property
    def waiting(self) -> int:
        """Callers in the queue."""
        return self._waiting

    @asynccontextmanager
    async def slot(self, key: str) -> AsyncIterator[None]:
        """Hold one slot; a caller that is cancelled while it waits leaves nothing behind."""
        await self._acquire(key)
        try:
            yield
        finally:
            self._release()

    async def _acquire(self, key: str) -> None:
        with self._lock:
            if self._free and not self._waiting:
                self._free -= 1
                return
            if self._waiting >= self.max_queue:
                raise BulkheadFullError(
                    f"{self.slots} files in {self.name}, {self._waiting} queued: the queue is full",
                    bulkhead=self.name,
                )
            waiter = _Waiter()
            self._queues.setdefault(key, deque()).append(waiter)
            self._waiting += 1
        try:
            await waiter.turn
        except BaseException:
            with self._lock:
                if not waiter.granted:
                    self._forget(key, waiter)
                    raise
            self._release()
            raise

    def _forget(self, key: str, waiter: _Waiter) -> None:
        queue = self._queues[key]
        queue.remove(waiter)
        self._waiting -= 1
        if not queue:
            del self._queues[key]

    def _release(self) -> None:
        with self._lock:
            waiter = self._next()
            if waiter is None:
                self._free += 1
                return
        waiter.grant()

    def _next(self) -> _Waiter | None:
        """Take the first waiter of the key whose turn it is, and move the key behind the others."""
        while self._queues:
            key, queue = self._queues.popitem(last=False)
            waiter = queue.popleft()
            self._waiting -= 1
            if queue:
                self._queues[key] = queue
            if not waiter.loop.is_closed():
                waiter.granted = True
                return waiter
        return None


class _Waiter:
    """One caller in the queue. The slot is its own from `granted` on, even before its loop runs again."""

    __slots__ = ("granted", "loop", "turn")

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.turn: asyncio.Future[None] = self.loop.create_future()
        self.granted = False

    def grant(self) -> None:
        self.loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        if not self.turn.done():
            self.turn.set_result(None)
