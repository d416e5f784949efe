"""Sliding windows over the outcomes of calls, by count and by time: O(1) a call, with running totals."""

from __future__ import annotations

import math

__all__ = ["FAILED", "SLOW", "CallWindow", "TimeWindow", "Window"]

FAILED = 1
SLOW = 2


class Window:
    """Totals over the recent calls: ``calls``, ``failures`` and ``slow``.

    An outcome is 0 or a sum of :data:`FAILED` and :data:`SLOW`. Plain successes may be added in runs, which keeps the
    path of a healthy call short: the circuit counts them and adds the run before anything else happens.
    """

    __slots__ = ("calls", "failures", "slow")

    calls: int
    failures: int
    slow: int

    def __init__(self) -> None:
        self._zero()

    def _zero(self) -> None:
        self.calls = 0
        self.failures = 0
        self.slow = 0

    def add(self, now: float, outcome: int) -> None:
        """Add one call that ended at `now`."""
        raise NotImplementedError

    def add_successes(self, count: int) -> None:
        """Add `count` fast successes that ended before :meth:`boundary`."""
        raise NotImplementedError

    def boundary(self) -> float:
        """Return the instant until which successes may be collected before they are added."""
        return math.inf

    def clear(self) -> None:
        """Forget all calls."""
        raise NotImplementedError


class CallWindow(Window):
    """The last `size` calls, as a ring of outcomes."""

    __slots__ = ("_next", "_ring")

    calls: int
    failures: int
    slow: int

    def __init__(self, size: int) -> None:
        super().__init__()
        self._ring = bytearray(size)
        self._next = 0

    def add(self, now: float, outcome: int) -> None:
        ring, place = self._ring, self._next
        size = len(ring)
        if self.calls < size:
            self.calls += 1
        else:
            gone = ring[place]
            self.failures -= gone & FAILED
            self.slow -= gone >> 1
        ring[place] = outcome
        self.failures += outcome & FAILED
        self.slow += outcome >> 1
        self._next = place + 1 if place + 1 < size else 0

    def add_successes(self, count: int) -> None:
        for _ in range(min(count, len(self._ring))):  # what is older falls out anyhow
            self.add(0.0, 0)

    def clear(self) -> None:
        self._next = 0
        self._zero()


class TimeWindow(Window):
    """The last `seconds`, in `buckets` slices: what is older falls out a slice at a time."""

    __slots__ = ("_buckets", "_place", "_slice", "_until")

    calls: int
    failures: int
    slow: int
    _until: float

    def __init__(self, seconds: float, buckets: int = 10) -> None:
        self._slice = seconds / buckets
        self._buckets: list[list[int]] = [[] for _ in range(buckets)]
        self._place = 0
        self.clear()

    def add(self, now: float, outcome: int) -> None:
        if now >= self._until:
            self._advance(now)
        bucket = self._buckets[self._place]
        bucket[0] += 1
        self.calls += 1
        if outcome & FAILED:
            bucket[1] += 1
            self.failures += 1
        if outcome & SLOW:
            bucket[2] += 1
            self.slow += 1

    def add_successes(self, count: int) -> None:
        self._buckets[self._place][0] += count
        self.calls += count

    def boundary(self) -> float:
        return self._until

    def _advance(self, now: float) -> None:
        behind = now - self._until
        if behind >= self._slice * len(self._buckets):
            self.clear()
            self._until = now + self._slice
            return
        for _ in range(int(behind / self._slice) + 1):
            self._place = (self._place + 1) % len(self._buckets)
            bucket = self._buckets[self._place]
            self.calls -= bucket[0]
            self.failures -= bucket[1]
            self.slow -= bucket[2]
            bucket[:] = (0, 0, 0)
            self._until += self._slice

    def clear(self) -> None:
        for bucket in self._buckets:
            bucket[:] = (0, 0, 0)
        self._zero()
        self._until = -math.inf
