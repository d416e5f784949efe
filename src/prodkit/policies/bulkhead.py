"""Bulkhead: at most so many calls at once, and a bounded line in front of them."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, aclosing
from types import CoroutineType, TracebackType
from typing import Any

from prodkit.core.deadline import Deadline
from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.errors import BulkheadFullError
from prodkit.policies.base import AsyncFn, Policy, StreamFn, SyncFn
from prodkit.policies.deadline_guard import bounded, deadline_for, within_deadline
from prodkit.policies.events import BulkheadRejected
from prodkit.policies.queueing import Order, Refusal, Slots

__all__ = ["Bulkhead", "Limiter"]

_WHY: dict[Refusal, str] = {
    "full": "its line is full",
    "late": "no place became free in time",
    "displaced": "newer calls took the line",
}


class Limiter(Policy):
    """What a fixed and an adaptive limit have in common: a place is held for as long as the call runs."""

    rank = 50

    def __init__(
        self, name: str, slots: Slots, *, max_wait: float | None, runtime: Runtime, allowance: float = 0.0
    ) -> None:
        self.name = name
        self.runtime = runtime
        self.max_wait = max_wait
        self._slots = slots
        self._allowance = allowance

    @property
    def inflight(self) -> int:
        """Calls that hold a place now."""
        return self._slots.inflight

    @property
    def waiting(self) -> int:
        """Calls that stand in line."""
        return len(self._slots.line)

    def hold(self) -> AbstractAsyncContextManager[None]:
        """A place for the length of a block, for what is not one call (a stream, say).

        Raises:
            BulkheadFullError: no place in time.
        """
        return _Held(self)

    def _latest(self, now: float) -> float:
        """The instant after which a place would come too late to be of use."""
        latest = Deadline.instant() - self._allowance
        return latest if self.max_wait is None else min(latest, now + self.max_wait)

    async def _queue(self) -> None:
        refusal = await self._slots.line.wait(self._latest(asyncio.get_running_loop().time()))
        if refusal is not None:
            raise self._refused(refusal)

    def _refused(self, refusal: Refusal) -> BulkheadFullError:
        slots = self._slots
        if self.runtime.events.listened(BulkheadRejected):
            self.runtime.events.emit(
                BulkheadRejected(
                    bulkhead=self.name, reason=refusal, inflight=slots.inflight, waiting=len(slots.line)
                )
            )
        return BulkheadFullError(
            f"{self.name} runs {slots.inflight} calls and {_WHY[refusal]}: the call was not started",
            bulkhead=self.name,
        )


class Bulkhead(Limiter):
    """At most `limit` calls at once; up to `max_queue` more wait in line, for at most `max_wait` seconds.

    Nobody waits beyond the caller's Deadline. `order` is ``"adaptive"`` (oldest first, newest first once the line
    stands still), ``"fifo"`` or ``"lifo"``. A cancelled waiter leaves the line; its place, if it had just got one,
    goes to the next. Async calls of one event loop share the places; synchronous calls (``call``) have as many
    places of their own, which threads share, and no line: they are refused when none is free. A stream holds its
    place until its end.

    Raises:
        BulkheadFullError: the call was not started.
    """

    def __init__(
        self,
        limit: int,
        *,
        name: str = "bulkhead",
        max_queue: int = 100,
        max_wait: float | None = None,
        order: Order = "adaptive",
        runtime: Runtime = SYSTEM,
    ) -> None:
        problems = [
            text
            for wrong, text in (
                (limit < 1, f"limit must be at least 1, got {limit!r}"),
                (max_queue < 0, f"max_queue must not be negative, got {max_queue!r}"),
                (
                    max_wait is not None and not max_wait >= 0,
                    f"max_wait must not be negative, got {max_wait!r}",
                ),
                (
                    order not in ("fifo", "lifo", "adaptive"),
                    f"order is fifo, lifo or adaptive, got {order!r}",
                ),
            )
            if wrong
        ]
        if problems:
            raise ValueError("; ".join(problems))
        super().__init__(
            name, Slots(limit, max_queue=max_queue, order=order), max_wait=max_wait, runtime=runtime
        )
        self._threads = threading.BoundedSemaphore(limit)

    def wrap(self, fn: AsyncFn) -> AsyncFn:
        enter, leave, queue = self._slots.enter, self._slots.leave, self._queue
        deadline = deadline_for(fn)

        async def bulkhead(*args: Any, **kwargs: Any) -> Any:
            if not enter():
                await queue()
            try:
                if deadline() == math.inf:
                    return await fn(*args, **kwargs)
                return await within_deadline(fn, args, kwargs)
            finally:
                leave()

        return bounded(bulkhead)

    def wrap_sync(self, fn: SyncFn) -> SyncFn:
        places = self._threads

        def bulkhead(*args: Any, **kwargs: Any) -> Any:
            if not places.acquire(blocking=False):
                raise self._refused("full")
            try:
                result = fn(*args, **kwargs)
            finally:
                places.release()
            return self.resume(fn, result, args, kwargs) if type(result) is CoroutineType else result

        return bulkhead

    def wrap_stream(self, fn: StreamFn) -> StreamFn:
        async def bulkhead(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            async with self.hold(), aclosing(fn(*args, **kwargs)) as items:  # type: ignore[type-var]
                async for item in items:
                    yield item

        return bulkhead

    def __repr__(self) -> str:
        slots = self._slots
        return (
            f"Bulkhead({slots.limit}, name={self.name!r}, max_queue={slots.line.max_waiting}, "
            f"max_wait={self.max_wait}, order={slots.line.order!r})"
        )


class _Held:
    __slots__ = ("_limiter",)

    def __init__(self, limiter: Limiter) -> None:
        self._limiter = limiter

    async def __aenter__(self) -> None:
        limiter = self._limiter
        if not limiter._slots.enter():
            await limiter._queue()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._limiter._slots.leave()
