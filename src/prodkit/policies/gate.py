"""RetryAfterGate: one "not before" instant for all callers of a dependency that throttles.

A 429 answers one caller but concerns all of them: until ``Retry-After`` is over, every further request is refused, and
with many providers it also counts against the quota. So the first throttled call closes the gate for all callers. The
calls that queued are then released one by one, at a rate that starts at half of what was asked before and grows while
they succeed.
"""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from datetime import datetime
from typing import Any

from prodkit.core.deadline import Deadline
from prodkit.core.outcome import Classifier, Outcome
from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.core.validate import Arguments
from prodkit.errors import RateLimitedError, RejectedError
from prodkit.policies.base import AsyncFn, Policy, StreamFn, SyncFn
from prodkit.policies.block import Scope
from prodkit.policies.classify import classifier
from prodkit.policies.deadline_guard import bounded, deadline_for, stream_until_deadline, within_deadline
from prodkit.policies.events import GateClosed, GatePassed
from prodkit.policies.pacing import Pacing
from prodkit.policies.queueing import WaitQueue
from prodkit.policies.retry_after import retry_after_of
from prodkit.policies.switch import is_off

__all__ = ["RetryAfterGate"]


class RetryAfterGate(Policy):
    """Queue all calls while a dependency asks for silence, then release them at a rate it can bear.

    ::

        gate = RetryAfterGate("perplexity")
        await Pipeline(Retry(attempts=4), gate, Timeout(5)).run(research, topic)

    A throttled call closes the gate for all its callers, for the time that its error names (see :func:`retry_after_of`)
    plus `margin`. A refusal by a policy further in does not close it: it is not the dependency's word. A caller queues;
    if its turn would come after more than `queue_timeout`, or too near its :class:`~prodkit.Deadline` for an answer, or
    if `max_queue` others wait, it gets :class:`RateLimitedError` with ``retry_after`` at once. Waiters go in the order
    in which they came; a cancelled one gives up its turn. Share one gate between all callers of a quota.

    Args:
        name: of the dependency, in errors and events.
        queue_timeout: seconds that a call may queue; raise it for background work, lower it for interactive use.
        max_queue: calls that may queue.
        margin: share added to the asked silence, because clocks differ and many quotas count requests that come too
            early.
        unhinted: seconds of silence after a 429 that names no time; 0 leaves the gate open.
        hint: reads the seconds from an error; replace it where a dependency has a header of its own.
        classify: decides which errors are `throttled`; None from it leaves the decision to the defaults.
        runtime: clock and events.

    Raises:
        RateLimitedError: the call was not started.
    """

    rank = 45

    name: str
    runtime: Runtime

    def __init__(
        self,
        name: str = "",
        *,
        queue_timeout: float = 60.0,
        max_queue: int = 1000,
        margin: float = 0.02,
        unhinted: float = 1.0,
        hint: Callable[[BaseException, datetime], float | None] = retry_after_of,
        classify: Classifier | None = None,
        runtime: Runtime = SYSTEM,
    ) -> None:
        check = Arguments("RetryAfterGate")
        check.text("name", name, empty=True)
        check.number("queue_timeout", queue_timeout, minimum=0, infinite=True, unit="seconds")
        check.integer("max_queue", max_queue, minimum=0)
        check.number("margin", margin, minimum=0, maximum=1)
        check.seconds("unhinted", unhinted, zero=True)
        check.function("hint", hint)
        check.instance("runtime", runtime, Runtime, "a Runtime")
        check.function("classify", classify, optional=True)
        check.done()
        self.name = name
        self.runtime = runtime
        self._queue_timeout = queue_timeout
        self._margin = 1 + margin
        self._unhinted = unhinted
        self._hint = hint
        self._classify = classifier(classify)
        self._pacing = Pacing()
        self._queue = WaitQueue(max_waiting=max_queue, order="fifo", lost=self._lost)
        self._timer: asyncio.TimerHandle | None = None
        self._timer_loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()  # for threads; tasks of one loop need none
        self._latency = 0.0  # of good answers, averaged: a turn that leaves less than that is of no use

    @property
    def not_before(self) -> float:
        """The instant until which the dependency asked for silence."""
        return self._pacing.not_before

    @property
    def waiting(self) -> int:
        """The number of calls that wait for their turn."""
        return len(self._queue)

    def close(self, seconds: float) -> None:
        """Close the gate for `seconds`, plus the margin: for limits that a header or an event announces."""
        check = Arguments("RetryAfterGate")
        check.seconds("seconds", seconds, zero=True)
        check.done()
        self._close(seconds)

    def _close(self, seconds: float) -> None:
        seconds *= self._margin
        self._pacing.throttled(self.runtime.clock.monotonic(), seconds)
        if (events := self.runtime.events).listened(GateClosed):
            events.emit(GateClosed(gate=self.name, seconds=seconds))

    async def enter(self) -> None:
        """Wait for this call's turn. Follow it with :meth:`succeeded` or :meth:`failed`."""
        pacing = self._pacing
        now = self.runtime.clock.monotonic()
        if not self._queue and pacing.next(now) <= now:
            pacing.reserve(now)
            return
        if is_off(self.runtime):
            return
        self._queue.meet(asyncio.get_running_loop())
        of_use = Deadline.instant() - 1.5 * self._latency
        turn = pacing.turn(now, len(self._queue))
        if turn >= of_use or turn > now + self._queue_timeout:
            raise self._refused(now)
        self._arm(pacing.next(now))
        try:
            refusal = await self._queue.wait(min(of_use, now + self._queue_timeout))
        finally:
            self._disarm()
        waited = self.runtime.clock.monotonic() - now
        if refusal is not None:
            raise self._refused(now + waited)
        if (events := self.runtime.events).listened(GatePassed):
            events.emit(GatePassed(gate=self.name, waited=waited))

    def enter_sync(self) -> None:
        """Block this thread until the call's turn. Follow it with :meth:`succeeded` or :meth:`failed`.

        Raises:
            RateLimitedError: the turn would come too late.
        """
        if is_off(self.runtime):
            return
        with self._lock:
            now = self.runtime.clock.monotonic()
            at = self._pacing.next(now)
            if at >= Deadline.instant() - 1.5 * self._latency or at > now + self._queue_timeout:
                raise self._refused(now)
            self._pacing.reserve(at)
        if at > now:
            self.runtime.clock.block(at - now)
            if (events := self.runtime.events).listened(GatePassed):
                events.emit(GatePassed(gate=self.name, waited=at - now))

    def _arm(self, at: float) -> None:
        """Set the timer for the next turn, at `at`: one for the whole queue."""
        loop = asyncio.get_running_loop()
        if self._timer is None or self._timer_loop is not loop:
            self._timer, self._timer_loop = loop.call_at(at, self._turn), loop

    def _disarm(self) -> None:
        """Cancel the timer once the queue is empty: no timer outlives its loop, or keeps one busy."""
        if self._timer is not None and not self._queue:
            self._timer.cancel()
            self._timer = None

    def _turn(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now, pacing = self.runtime.clock.monotonic(), self._pacing
        while (at := pacing.next(now)) <= now and self._queue.call():
            pacing.reserve(now)
        if self._queue:
            self._arm(at)

    def _lost(self) -> None:
        """Pass on the turn of a caller that was cancelled as it came."""
        self._pacing.give_back()
        if self._queue:
            self._turn()

    def succeeded(self) -> None:
        """Record that the call succeeded."""
        if self._pacing.rate is not None:
            self._pacing.succeeded(self.runtime.clock.monotonic(), len(self._queue))

    def failed(self, error: BaseException) -> None:
        """Record that the call raised `error`; the gate closes if the dependency throttled it."""
        if isinstance(error, RejectedError):
            return
        seconds = self._hint(error, self.runtime.clock.now())
        if seconds is None and self._classify(error) is Outcome.THROTTLED:
            seconds = self._unhinted
        if seconds is not None and seconds > 0:
            self._close(seconds)

    def _refused(self, now: float) -> RateLimitedError:
        wait = self._pacing.turn(now, len(self._queue)) - now
        return RateLimitedError(
            f"{self.name or 'the dependency'} is throttled: the next turn is in {wait:.3g} s",
            retry_after=wait,
            limit=self.name,
        )

    def wrap(self, fn: AsyncFn) -> AsyncFn:
        """Return the guarded form of the async function `fn`."""
        now, deadline = self.runtime.clock.monotonic, deadline_for(fn)

        async def guarded(*args: Any, **kwargs: Any) -> Any:
            await self.enter()
            began = now()
            try:
                if deadline() == math.inf:
                    result = await fn(*args, **kwargs)
                else:
                    result = await within_deadline(fn, args, kwargs)
            except Exception as error:
                self.failed(error)
                raise
            self._latency += 0.1 * (now() - began - self._latency)
            self.succeeded()
            return result

        return bounded(guarded)

    def wrap_sync(self, fn: SyncFn) -> SyncFn:
        """Return the guarded form of the plain function `fn`."""
        raise TypeError("RetryAfterGate queues tasks, not threads: use it with async functions")

    def wrap_stream(self, fn: StreamFn) -> StreamFn:
        """Return the guarded form of the async generator function `fn`."""
        fn = stream_until_deadline(fn)

        async def guarded(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            await self.enter()
            try:
                async with aclosing(fn(*args, **kwargs)) as items:  # type: ignore[type-var]
                    async for item in items:
                        yield item
            except Exception as error:
                self.failed(error)
                raise
            self.succeeded()

        return bounded(guarded)

    def scope(self) -> Scope:
        """Return a guard for one block."""
        return _GateScope(self)

    def __repr__(self) -> str:
        return f"RetryAfterGate({self.name!r})"


class _GateScope(Scope):
    __slots__ = ("_gate",)

    def __init__(self, gate: RetryAfterGate) -> None:
        self._gate = gate

    async def enter(self) -> None:
        await self._gate.enter()

    def leave(self, error: BaseException | None) -> None:
        if error is None:
            self._gate.succeeded()
        elif isinstance(error, Exception):
            self._gate.failed(error)
