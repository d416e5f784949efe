"""RetryAfterGate: one "not before" instant for all callers of a dependency that throttles.

A 429 answers one caller but speaks to all of them: until ``Retry-After`` is over, every further request is
refused, and with many providers it also counts against the quota. So the first one told closes the gate for
everybody. What waited then goes through at a pace that starts at half of what was asked before and grows
while it goes well.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from datetime import datetime
from typing import Any

from prodkit.core.deadline import Deadline
from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.errors import RateLimitedError, RejectedError
from prodkit.policies.base import AsyncFn, Policy, StreamFn, SyncFn
from prodkit.policies.deadline_guard import bounded, deadline_for, within_deadline
from prodkit.policies.events import GateClosed, GatePassed
from prodkit.policies.pacing import Pace
from prodkit.policies.queueing import Line
from prodkit.policies.retry_after import retry_after_of

__all__ = ["RetryAfterGate"]


class RetryAfterGate(Policy):
    """Holds all calls back while a dependency asks for silence, and lets them through at a pace it bears.

    ::

        gate = RetryAfterGate("perplexity")
        await Pipeline(Retry(attempts=4), gate, Timeout(5)).run(research, topic)

    An error that says when to come back (see :func:`retry_after_of`) closes the gate for all its callers, plus
    `margin` of that time; a refusal by a policy further in does not, for the dependency did not say it. A caller
    waits; when its turn would come after more than `max_wait`, or too near its :class:`~prodkit.Deadline` for an
    answer, or when `max_queue` others wait, it gets :class:`RateLimitedError` with ``retry_after`` at once. Waiters
    go in the order in which they came; a cancelled one gives up its place.
    Share one gate between all callers of a quota.
    """

    rank = 45

    def __init__(
        self,
        name: str = "",
        *,
        max_wait: float = 60.0,
        max_queue: int = 1000,
        margin: float = 0.02,
        hint: Callable[[BaseException, datetime], float | None] = retry_after_of,
        runtime: Runtime = SYSTEM,
    ) -> None:
        problems = [
            f"{option}={value!r} must be {must}"
            for option, value, must, holds in (
                ("max_wait", max_wait, "0 or more seconds", max_wait >= 0),
                ("max_queue", max_queue, "0 or more", max_queue >= 0),
                ("margin", margin, "between 0 and 1", 0 <= margin <= 1),
            )
            if not holds
        ]
        if problems:
            raise ValueError("; ".join(problems))
        self.name = name
        self.runtime = runtime
        self._max_wait = max_wait
        self._margin = 1 + margin
        self._hint = hint
        self._pace = Pace()
        self._line = Line(max_waiting=max_queue, order="fifo", lost=self._lost)
        self._timer: asyncio.TimerHandle | None = None
        self._timer_loop: asyncio.AbstractEventLoop | None = None
        self._latency = 0.0  # of good answers, averaged: a turn that leaves less than that is of no use

    @property
    def not_before(self) -> float:
        """The instant until which the dependency asked for silence."""
        return self._pace.not_before

    def close(self, seconds: float) -> None:
        """Closes the gate for `seconds`: for whoever learns of a limit by a header or an event."""
        seconds *= self._margin
        self._pace.throttled(self.runtime.clock.monotonic(), seconds)
        if (events := self.runtime.events).listened(GateClosed):
            events.emit(GateClosed(gate=self.name, seconds=seconds))

    async def enter(self) -> None:
        """Waits for this call's turn. Follow it with :meth:`succeeded` or :meth:`failed`."""
        pace = self._pace
        now = self.runtime.clock.monotonic()
        if not self._line and pace.next(now) <= now:
            pace.reserve(now)
            return
        self._line.meet(asyncio.get_running_loop())
        of_use = Deadline.instant() - 1.5 * self._latency
        turn = pace.turn(now, len(self._line))
        if turn >= of_use or turn > now + self._max_wait:
            raise self._refused(now)
        self._arm(pace.next(now))
        try:
            refusal = await self._line.wait(min(of_use, now + self._max_wait))
        finally:
            self._disarm()
        waited = self.runtime.clock.monotonic() - now
        if refusal is not None:
            raise self._refused(now + waited)
        if (events := self.runtime.events).listened(GatePassed):
            events.emit(GatePassed(gate=self.name, waited=waited))

    def _arm(self, at: float) -> None:
        """The next turn comes at `at`: one timer for the whole line."""
        loop = asyncio.get_running_loop()
        if self._timer is None or self._timer_loop is not loop:
            self._timer, self._timer_loop = loop.call_at(at, self._turn), loop

    def _disarm(self) -> None:
        """Nobody waits any more: no timer outlives its loop, or keeps one busy."""
        if self._timer is not None and not self._line:
            self._timer.cancel()
            self._timer = None

    def _turn(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now, pace = self.runtime.clock.monotonic(), self._pace
        while (at := pace.next(now)) <= now and self._line.call():
            pace.reserve(now)
        if self._line:
            self._arm(at)

    def _lost(self) -> None:
        """The caller whose turn it was has gone: the next one gets it."""
        self._pace.give_back()
        if self._line:
            self._turn()

    def succeeded(self) -> None:
        """The call came back well."""
        if self._pace.rate is not None:
            self._pace.succeeded(self.runtime.clock.monotonic())

    def failed(self, error: BaseException) -> None:
        """The call failed; if `error` says when to come back, the gate closes."""
        if isinstance(error, RejectedError):
            return
        seconds = self._hint(error, self.runtime.clock.now())
        if seconds is not None and seconds > 0:
            self.close(seconds)

    def _refused(self, now: float) -> RateLimitedError:
        wait = self._pace.turn(now, len(self._line)) - now
        return RateLimitedError(
            f"{self.name or 'the dependency'} is throttled: the next turn is in {wait:.3g} s",
            retry_after=wait,
            limit=self.name,
        )

    def wrap(self, fn: AsyncFn) -> AsyncFn:
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
        raise TypeError("RetryAfterGate queues tasks, not threads: use it with async functions")

    def wrap_stream(self, fn: StreamFn) -> StreamFn:
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

        return guarded

    def __repr__(self) -> str:
        return f"RetryAfterGate({self.name!r})"
