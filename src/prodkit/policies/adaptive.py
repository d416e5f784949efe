"""AdaptiveLimit: how many calls at once a dependency can take, found from its latency.

A dependency that is full answers later, not fewer. The gradient ``tolerance × baseline / recent`` of the latency
falls below one when calls queue up inside it, and the limit follows: the idea of Netflix's *Gradient2*
(concurrency-limits), with two changes. Averages are weighted by time and not by number of calls, so that the same
settings serve 5 and 5,000 calls a second; and the limit grows only while it is used, so that a quiet hour does not
leave a limit that lets the next overload in.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any

from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.policies.base import AsyncFn
from prodkit.policies.bulkhead import Limiter
from prodkit.policies.deadline_guard import bounded, deadline_for, within_deadline
from prodkit.policies.events import LimitChanged
from prodkit.policies.queueing import Slots

__all__ = ["AdaptiveLimit", "Gradient"]


class Gradient:
    """The limit as a pure function of what was seen. All times are seconds.

    `tolerance` is how many times the baseline latency may grow before it counts as queueing, `headroom` how many
    calls beyond that the limit always allows. The baseline follows rises over `baseline_seconds` and falls ten
    times as fast. The limit moves at most once in `interval` and by at most half.
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
        self.limit = float(initial)
        self.min_limit = min_limit
        self.max_limit = max_limit
        self.tolerance = tolerance
        self.headroom = headroom
        self.interval = interval
        self.smoothing = smoothing
        self.baseline_seconds = baseline_seconds
        self.baseline = math.nan
        self.latency = math.nan
        self._moved = -math.inf
        self._busiest = 0

    def answered(self, now: float, latency: float, inflight: int) -> bool:
        """A call was answered after `latency`, while `inflight` ran; says whether the limit moved."""
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
        """A call timed out or was turned away as too much; says whether the limit moved."""
        return now - self._moved >= self.interval and self._move(now, self.limit * 0.7)

    def _move(self, now: float, limit: float) -> bool:
        before, self.limit = int(self.limit), min(float(self.max_limit), max(float(self.min_limit), limit))
        self._moved = now
        self._busiest = 0
        return int(self.limit) != before


def _is_timeout(error: BaseException) -> bool:
    return isinstance(error, TimeoutError)


class AdaptiveLimit(Limiter):
    """At most as many calls at once as the dependency takes without queueing them; the rest wait in a bounded line.

    The line serves its newest first and gives up on callers whose Deadline leaves less than the usual latency.
    Answers teach the limit, `overloaded` (timeouts, by default) cuts it, other errors and cancelled calls teach
    nothing: an error is fast for reasons of its own.

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
        max_wait: float | None = None,
        tolerance: float = 2.0,
        headroom: float = 2.0,
        overloaded: Callable[[BaseException], bool] = _is_timeout,
        runtime: Runtime = SYSTEM,
    ) -> None:
        problems = [
            text
            for wrong, text in (
                (min_limit < 1, f"min_limit must be at least 1, got {min_limit!r}"),
                (
                    not min_limit <= initial <= max_limit,
                    f"initial must lie between min_limit and max_limit, got {initial!r}",
                ),
                (max_queue < 0, f"max_queue must not be negative, got {max_queue!r}"),
                (
                    max_wait is not None and not max_wait >= 0,
                    f"max_wait must not be negative, got {max_wait!r}",
                ),
                (not tolerance > 1, f"tolerance must be above 1, got {tolerance!r}"),
                (not headroom > 0, f"headroom must be positive, got {headroom!r}"),
            )
            if wrong
        ]
        if problems:
            raise ValueError("; ".join(problems))
        super().__init__(
            name, Slots(initial, max_queue=max_queue, order="lifo"), max_wait=max_wait, runtime=runtime
        )
        self.gradient = Gradient(
            initial=initial, min_limit=min_limit, max_limit=max_limit, tolerance=tolerance, headroom=headroom
        )
        self._is_overload = overloaded

    @property
    def limit(self) -> int:
        """How many calls may run at once now."""
        return self._slots.limit

    def wrap(self, fn: AsyncFn) -> AsyncFn:
        slots, enter, leave, queue = self._slots, self._slots.enter, self._slots.leave, self._queue
        deadline = deadline_for(fn)

        async def adaptive(*args: Any, **kwargs: Any) -> Any:
            if not enter():
                await queue()
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
        self._slots.limit = int(gradient.limit)  # who waits gets in as this call leaves
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
