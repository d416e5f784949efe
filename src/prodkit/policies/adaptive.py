"""AdaptiveLimit: find the number of calls that a dependency can take at once from its latency.

A dependency that is full answers later, not fewer. The gradient ``tolerance × baseline / recent`` of the latency
falls below one when calls queue up inside it, and the limit follows: the idea of Netflix's *Gradient2*
(concurrency-limits), with two changes. Averages are weighted by time and not by number of calls, so that the same
settings serve 5 and 5,000 calls a second; and the limit grows only while it is used, so that a quiet hour does not
leave a limit that lets the next overload in.
"""

from __future__ import annotations

import asyncio
import functools
import math
from collections.abc import Callable
from typing import Any

from prodkit.core.outcome import Classifier
from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.core.validate import Arguments
from prodkit.policies.base import AsyncFn
from prodkit.policies.bulkhead import Limiter, Priority
from prodkit.policies.classify import classifier, is_overload
from prodkit.policies.deadline_guard import bounded, deadline_for, within_deadline
from prodkit.policies.events import LimitChanged
from prodkit.policies.queueing import Slots

__all__ = ["AdaptiveLimit", "Gradient"]


class Gradient:
    """The limit as a pure function of the answers seen. All times are seconds.

    Each answer moves two averages; every `interval` the limit follows their ratio::

        gradient = tolerance x baseline / latency, between 0.5 and 1
        wanted   = gradient x limit + headroom
        limit   += smoothing x (wanted - limit)

        baseline 70 ms, latency 280 ms, limit 20:  gradient 0.5, wanted 12, limit 17.6

    The baseline follows rises over `baseline_seconds` and falls ten times as fast, so that a lasting overload does not
    become the new normal.

    Args:
        initial: the limit at the beginning.
        min_limit: never fewer calls than that.
        max_limit: never more calls than that.
        tolerance: factor by which the latency may exceed the baseline before it counts as queueing.
        headroom: calls beyond the gradient that the limit always allows, so that it can grow.
        interval: seconds between two moves.
        smoothing: share of the way to the wanted limit that one move takes.
        baseline_seconds: seconds over which the baseline follows a rise.
    """

    __slots__ = (
        "_busiest", "_heard", "_moved", "baseline", "baseline_seconds", "headroom", "interval", "latency", "limit",
        "max_limit", "min_limit", "smoothing", "tolerance",
    )  # fmt: skip

    _heard: float  # begins with the first answer

    def __init__(
        self,
        *,
        initial: float = 10,
        min_limit: int = 1,
        max_limit: int = 200,
        tolerance: float = 2.0,
        headroom: float = 2.0,
        interval: float = 0.25,
        smoothing: float = 0.3,
        baseline_seconds: float = 300.0,
    ) -> None:
        self.limit: float = float(initial)
        self.min_limit: int = min_limit
        self.max_limit: int = max_limit
        self.tolerance: float = tolerance
        self.headroom: float = headroom
        self.interval: float = interval
        self.smoothing: float = smoothing
        self.baseline_seconds: float = baseline_seconds
        self.baseline: float = math.nan
        self.latency: float = math.nan
        self._moved = -math.inf
        self._busiest = 0

    def answered(self, now: float, latency: float, inflight: int) -> bool:
        """Record at `now` an answer after `latency`, while `inflight` calls ran; return True if the limit moved."""
        if math.isnan(self.baseline):
            self.baseline = self.latency = latency
        else:
            passed = max(now - self._heard, 1e-3)
            long = self.baseline_seconds if latency > self.baseline else self.baseline_seconds / 10
            self.baseline += -math.expm1(-passed / long) * (latency - self.baseline)
            self.latency += max(0.1, -math.expm1(-passed)) * (latency - self.latency)
        self._heard = now
        self._busiest = max(self._busiest, inflight)
        if now - self._moved < self.interval:
            return False
        # An answer that took no time (on virtual time, or by a coarse clock) says that nothing queues.
        ratio = self.tolerance * self.baseline / self.latency if self.latency else 1.0
        gradient = min(1.0, max(0.5, ratio))
        wanted = gradient * self.limit + self.headroom
        if wanted > self.limit and self._busiest * 2 < self.limit:
            wanted = self.limit  # unused: no reason to grow
        return self._move(now, self.limit + self.smoothing * (wanted - self.limit))

    def overloaded(self, now: float) -> bool:
        """Record at `now` a call that timed out or was refused as too much; return True if the limit moved."""
        return now - self._moved >= self.interval and self._move(now, self.limit * 0.7)

    def _move(self, now: float, limit: float) -> bool:
        before, self.limit = int(self.limit), min(float(self.max_limit), max(float(self.min_limit), limit))
        self._moved = now
        self._busiest = 0
        return int(self.limit) != before


class AdaptiveLimit(Limiter):
    """Run as many calls at once as the dependency takes without queueing them; the rest wait in a bounded queue.

    The queue serves its newest first and refuses callers whose Deadline leaves less than the usual latency. Answers
    move the limit; failures by time-out and a 503 or 529 cut it. Other errors, throttled and cancelled calls do not
    count, because an error is fast for reasons of its own.

    Args:
        name: of the dependency, in errors and events.
        initial: the limit at the beginning, in calls.
        min_limit: never fewer calls than that.
        max_limit: never more calls than that.
        max_queue: calls that may wait.
        queue_timeout: seconds that a call may wait; None leaves only the deadline.
        tolerance: factor by which the latency may exceed its baseline before it counts as queueing.
        headroom: calls beyond the gradient that the limit always allows; raise it where the limit grows too slowly.
        overloaded: decides which errors mean too much at once, instead of the classifier.
        classify: decides the outcome of an error; None from it leaves the decision to the defaults.
        priority: gets the arguments of a call and returns its priority; higher ones are served first, and displace
            lower ones from a full queue.
        runtime: clock and events.

    Raises:
        BulkheadFullError: the call was not started.
    """

    def __init__(
        self,
        *,
        name: str = "limit",
        initial: int = 10,
        min_limit: int = 1,
        max_limit: int = 200,
        max_queue: int = 100,
        queue_timeout: float | None = None,
        tolerance: float = 2.0,
        headroom: float = 2.0,
        overloaded: Callable[[BaseException], bool] | None = None,
        classify: Classifier | None = None,
        priority: Priority | None = None,
        runtime: Runtime = SYSTEM,
    ) -> None:
        check = Arguments("AdaptiveLimit")
        check.text("name", name)
        check.integer("min_limit", min_limit, minimum=1)
        check.integer("max_limit", max_limit, minimum=1)
        check.integer("initial", initial)
        if all(isinstance(each, int) for each in (min_limit, initial, max_limit)):
            check.that(
                min_limit <= initial <= max_limit,
                f"initial must lie between min_limit={min_limit!r} and max_limit={max_limit!r}, got {initial!r}",
            )
        check.integer("max_queue", max_queue, minimum=0)
        check.seconds("queue_timeout", queue_timeout, optional=True, zero=True)
        check.number("tolerance", tolerance, above=1)
        check.number("headroom", headroom, above=0)
        check.function("overloaded", overloaded, optional=True)
        check.function("classify", classify, optional=True)
        check.function("priority", priority, optional=True)
        check.instance("runtime", runtime, Runtime, "a Runtime")
        check.done()
        super().__init__(
            name,
            Slots(initial, max_queue=max_queue, order="lifo"),
            queue_timeout=queue_timeout,
            priority=priority,
            runtime=runtime,
        )
        self.gradient: Gradient = Gradient(
            initial=initial, min_limit=min_limit, max_limit=max_limit, tolerance=tolerance, headroom=headroom
        )
        self._is_overload = overloaded or functools.partial(is_overload, classify=classifier(classify))

    @property
    def limit(self) -> int:
        """The number of calls that may run at once now."""
        return self._slots.limit

    def wrap(self, fn: AsyncFn) -> AsyncFn:
        """Return the guarded form of the async function `fn`."""
        slots, enter, leave, queue = self._slots, self._slots.enter, self._slots.leave, self._queue
        deadline = deadline_for(fn)

        async def adaptive(*args: Any, **kwargs: Any) -> Any:
            if not enter():
                await queue(fn, args, kwargs)
            time = asyncio.get_running_loop().time
            began = time()
            try:
                if deadline() == math.inf:
                    result = await fn(*args, **kwargs)
                else:
                    result = await within_deadline(fn, args, kwargs)
                now = time()
                if self.gradient.answered(now, now - began, slots.inflight):
                    self._changed()
            except Exception as error:
                if self._is_overload(error) and self.gradient.overloaded(time()):
                    self._changed()
                raise
            else:
                return result
            finally:
                leave()

        return bounded(adaptive)

    def _latest(self, now: float) -> float:
        latency = self.gradient.latency
        self._allowance = 0.0 if math.isnan(latency) else 1.5 * latency
        return super()._latest(now)

    def _changed(self) -> None:
        gradient = self.gradient
        self._slots.limit = int(gradient.limit)  # waiters get in as this call leaves
        if self.runtime.events.listened(LimitChanged):
            self.runtime.events.emit(
                LimitChanged(
                    limiter=self.name,
                    limit=self._slots.limit,
                    latency=gradient.latency,
                    baseline=gradient.baseline,
                )
            )

    def __repr__(self) -> str:
        return f"AdaptiveLimit(name={self.name!r}, limit={self.limit}, inflight={self.inflight})"
