"""The counts of the last call under a retry, one view for each thread, with tenacity's keys."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from typing import Any
from weakref import WeakValueDictionary

from prodkit.core.clock import Clock

__all__ = ["RetryStatistics"]


class RetryStatistics(Mapping[str, Any]):
    """Counts of the last call of this thread; empty before the first one.

    The keys are tenacity's: ``attempt_number``, ``idle_for`` (seconds waited), ``start_time`` and
    ``delay_since_first_attempt`` (seconds). A call whose first attempt succeeds pays for one look at ``pending``, which
    is true while counts of a failed attempt have to be replaced. Of such calls the first one sets ``start_time``.
    """

    __slots__ = (
        "__weakref__",
        "_clock",
        "_counted",
        "_local",
        "_lock",
        "_parts",
        "_succeeded",
        "_whole",
        "pending",
    )

    def __init__(self, clock: Clock, whole: RetryStatistics | None = None) -> None:
        self.pending: bool = True
        """The next call that succeeds at once has to be recorded."""
        self._clock = clock
        self._whole = whole
        self._parts: WeakValueDictionary[int, RetryStatistics] = WeakValueDictionary()
        self._local = threading.local()
        self._counted: set[int] = set()
        self._succeeded: dict[str, Any] = {}
        self._lock = threading.Lock()
        if whole is not None:
            with whole._lock:
                whole._parts[id(self)] = self

    def begin(self, start: float) -> dict[str, Any]:
        """Return the counts of a call that began at `start`, to be kept up to date by its state."""
        counts = {"start_time": start, "attempt_number": 1, "idle_for": 0, "delay_since_first_attempt": 0}
        self._publish(counts)
        if self._whole is not None:
            self._whole._publish(counts)
        return counts

    def _publish(self, counts: dict[str, Any]) -> None:
        self._local.counts = counts
        with self._lock:
            self._counted &= {thread.ident or 0 for thread in threading.enumerate()}  # the others have ended
            self._counted.add(threading.get_ident())
            self.pending = True
            for part in list(self._parts.values()):
                part.pending = True

    def succeeded(self) -> None:
        """Record a call whose first attempt succeeded, where it is :attr:`pending`."""
        self.pending = False  # first: a thread that fails now sets it again, or is seen below
        self._forget()
        if self._whole is not None:
            self._whole._forget()
        if self._counted or (self._whole is not None and self._whole._counted):
            self.pending = True

    def _forget(self) -> None:
        """Forget the counts of this thread in favour of a call that needed one attempt."""
        with self._lock:
            self._counted.discard(threading.get_ident())
        self._local.__dict__.pop("counts", None)
        if not self._succeeded:
            start = self._clock.monotonic()
            self._succeeded = {
                "start_time": start,
                "attempt_number": 1,
                "idle_for": 0,
                "delay_since_first_attempt": 0,
            }

    def _current(self) -> dict[str, Any]:
        counts: dict[str, Any] = self._local.__dict__.get("counts", self._succeeded)
        return counts

    def __getitem__(self, key: str) -> Any:
        return self._current()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._current())

    def __len__(self) -> int:
        return len(self._current())

    def __repr__(self) -> str:
        return repr(self._current())
