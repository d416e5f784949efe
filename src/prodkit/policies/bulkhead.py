"""Bulkhead: bound the number of calls in flight, and the queue in front of them."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from types import CoroutineType
from typing import Any

from prodkit.core.deadline import Deadline
from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.core.validate import Arguments
from prodkit.errors import BulkheadFullError
from prodkit.policies.base import AsyncFn, Policy, StreamFn, SyncFn
from prodkit.policies.block import Block, Scope
from prodkit.policies.deadline_guard import bounded, deadline_for, stream_until_deadline, within_deadline
from prodkit.policies.events import BulkheadRejected
from prodkit.policies.idempotency import innermost
from prodkit.policies.queueing import Order, Refusal, Slots
from prodkit.policies.switch import is_off

__all__ = ["Bulkhead", "Limiter", "Priority"]

Priority = Callable[..., int]
"""Gets the arguments of a call and returns its priority; higher ones are served first, 0 is usual."""

_WHY: dict[Refusal, str] = {
    "full": "its queue is full",
    "late": "no slot became free in time",
    "displaced": "other calls took its place in the queue",
}


class Limiter(Policy):
    """The base of a fixed and an adaptive limit: a call holds a slot while it runs.

    Args:
        name: of the dependency, in errors and events.
        slots: the slots and their queue.
        queue_timeout: seconds that a call may queue; None leaves only the deadline.
        priority: the priority of a call by its arguments; None gives all calls the same.
        runtime: clock and events.
        allowance: seconds that an answer takes: a slot that comes later than that before the deadline is of no use.
    """

    rank = 50

    name: str
    runtime: Runtime
    queue_timeout: float | None

    def __init__(
        self,
        name: str,
        slots: Slots,
        *,
        queue_timeout: float | None,
        runtime: Runtime,
        priority: Priority | None = None,
        allowance: float = 0.0,
    ) -> None:
        self.name = name
        self.runtime = runtime
        self.queue_timeout = queue_timeout
        self._slots = slots
        self._priority = priority
        self._allowance = allowance

    @property
    def inflight(self) -> int:
        """The number of calls that hold a slot."""
        return self._slots.inflight

    @property
    def waiting(self) -> int:
        """The number of calls in the queue."""
        return len(self._slots.queue)

    def hold(self, *, priority: int = 0) -> Block:
        """Return a guard that holds a slot for one block, for work that is not one call.

        Args:
            priority: higher ones are served first.

        Raises:
            BulkheadFullError: on entering, if no slot becomes free in time.
        """
        return Block() if is_off(self.runtime) else Block(_SlotScope(self, priority))

    def scope(self) -> Scope:
        """Return a guard for one block."""
        return _SlotScope(self, 0)

    def _latest(self, now: float) -> float:
        """Return the instant after which a slot would come too late to be of use."""
        latest = Deadline.instant() - self._allowance
        return latest if self.queue_timeout is None else min(latest, now + self.queue_timeout)

    async def _queue(self, fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        await self._wait(self._priority_of(fn, args, kwargs))

    def _priority_of(self, fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
        if self._priority is None:
            return 0
        return self._priority(*innermost(fn, args)[1], **kwargs)

    async def _wait(self, priority: int) -> None:
        if is_off(self.runtime):
            self._slots.inflight += 1
            return
        latest = self._latest(asyncio.get_running_loop().time())
        refusal = await self._slots.queue.wait(latest, priority)
        if refusal is not None:
            raise self._refused(refusal)

    def _refused(self, refusal: Refusal) -> BulkheadFullError:
        slots = self._slots
        if self.runtime.events.listened(BulkheadRejected):
            self.runtime.events.emit(
                BulkheadRejected(
                    bulkhead=self.name, reason=refusal, inflight=slots.inflight, waiting=len(slots.queue)
                )
            )
        return BulkheadFullError(
            f"{self.name} has {slots.inflight} calls in flight and {_WHY[refusal]}: the call was not started",
            bulkhead=self.name,
        )


class _ThreadSlots:
    """Slots that threads share, without a queue; the limit may change."""

    __slots__ = ("_lock", "inflight", "limit")

    def __init__(self, limit: int) -> None:
        self.limit: int = limit
        self.inflight: int = 0
        self._lock = threading.Lock()

    def enter(self) -> bool:
        with self._lock:
            if self.inflight >= self.limit and not is_off():
                return False
            self.inflight += 1
            return True

    def leave(self) -> None:
        with self._lock:
            self.inflight -= 1


class Bulkhead(Limiter):
    """Run at most `limit` calls at once; up to `max_queue` more wait for a slot.

    A call queues no longer than the caller's :class:`~prodkit.Deadline`. A cancelled waiter leaves the queue; its slot,
    if it had just got one, goes to the next. Async calls of one event loop share the slots; synchronous calls (``call``
    and ``with``) have as many slots of their own, which threads share, and no queue: they are refused when none is
    free. A stream holds its slot until its end.

    Args:
        limit: calls in flight; assign :attr:`limit` to change it while running.
        name: of the dependency, in errors and events.
        max_queue: calls that may wait; 0 refuses at once.
        queue_timeout: seconds that a call may wait; None leaves only the deadline.
        order: ``"adaptive"`` (oldest first, newest first once the queue stands still), ``"fifo"``, ``"lifo"`` or
            ``"deadline"`` (nearest deadline first).
        priority: gets the arguments of a call and returns its priority. Higher ones are served first, and displace
            lower ones from a full queue. None gives all calls the same.
        runtime: clock and events.

    Raises:
        BulkheadFullError: the call was not started.
    """

    def __init__(
        self,
        limit: int,
        *,
        name: str = "bulkhead",
        max_queue: int = 100,
        queue_timeout: float | None = None,
        order: Order = "adaptive",
        priority: Priority | None = None,
        runtime: Runtime = SYSTEM,
    ) -> None:
        check = Arguments("Bulkhead")
        check.integer("limit", limit, minimum=1)
        check.text("name", name)
        check.integer("max_queue", max_queue, minimum=0)
        check.seconds("queue_timeout", queue_timeout, optional=True, zero=True)
        check.one_of("order", order, ("fifo", "lifo", "adaptive", "deadline"))
        check.function("priority", priority, optional=True)
        check.instance("runtime", runtime, Runtime, "a Runtime")
        check.done()
        super().__init__(
            name,
            Slots(limit, max_queue=max_queue, order=order),
            queue_timeout=queue_timeout,
            priority=priority,
            runtime=runtime,
        )
        self._threads = _ThreadSlots(limit)

    @property
    def limit(self) -> int:
        """Calls that may be in flight at once. A lower limit takes effect as calls end."""
        return self._slots.limit

    @limit.setter
    def limit(self, limit: int) -> None:
        check = Arguments("Bulkhead")
        check.integer("limit", limit, minimum=1)
        check.done()
        self._slots.limit = self._threads.limit = limit
        self._slots.admit()

    def wrap(self, fn: AsyncFn) -> AsyncFn:
        """Return the guarded form of the async function `fn`."""
        enter, leave, queue = self._slots.enter, self._slots.leave, self._queue
        deadline = deadline_for(fn)

        async def bulkhead(*args: Any, **kwargs: Any) -> Any:
            if not enter():
                await queue(fn, args, kwargs)
            try:
                if deadline() == math.inf:
                    return await fn(*args, **kwargs)
                return await within_deadline(fn, args, kwargs)
            finally:
                leave()

        return bounded(bulkhead)

    def wrap_sync(self, fn: SyncFn) -> SyncFn:
        """Return the guarded form of the plain function `fn`."""
        slots = self._threads

        def bulkhead(*args: Any, **kwargs: Any) -> Any:
            if not slots.enter():
                raise self._refused("full")
            try:
                result = fn(*args, **kwargs)
            finally:
                slots.leave()
            return self.resume(fn, result, args, kwargs) if type(result) is CoroutineType else result

        return bulkhead

    def wrap_stream(self, fn: StreamFn) -> StreamFn:
        """Return the guarded form of the async generator function `fn`."""
        fn = stream_until_deadline(fn)

        async def bulkhead(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            if not self._slots.enter():
                await self._queue(fn, args, kwargs)
            try:
                async with aclosing(fn(*args, **kwargs)) as items:  # type: ignore[type-var]
                    async for item in items:
                        yield item
            finally:
                self._slots.leave()

        return bounded(bulkhead)

    def wrap_generator(self, fn: SyncFn) -> SyncFn:
        """Return the guarded form of the generator function `fn`."""

        def bulkhead(*args: Any, **kwargs: Any) -> Iterator[Any]:
            with self.hold():
                yield from fn(*args, **kwargs)

        return bulkhead

    def __repr__(self) -> str:
        slots = self._slots
        return (
            f"Bulkhead({slots.limit}, name={self.name!r}, max_queue={slots.queue.max_waiting}, "
            f"queue_timeout={self.queue_timeout}, order={slots.queue.order!r})"
        )


class _SlotScope(Scope):
    __slots__ = ("_async", "_limiter", "_priority")

    def __init__(self, limiter: Limiter, priority: int) -> None:
        self._limiter = limiter
        self._priority = priority
        self._async = True

    async def enter(self) -> None:
        if not self._limiter._slots.enter():
            await self._limiter._wait(self._priority)

    def enter_sync(self) -> None:
        limiter = self._limiter
        if not isinstance(limiter, Bulkhead):
            raise TypeError(f"{type(limiter).__name__} needs `async with`: its slots belong to an event loop")
        if not limiter._threads.enter():
            raise limiter._refused("full")
        self._async = False

    def leave(self, error: BaseException | None) -> None:
        limiter = self._limiter
        if self._async:
            limiter._slots.leave()
        elif isinstance(limiter, Bulkhead):
            limiter._threads.leave()
