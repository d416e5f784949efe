"""Bounded memory of recorded events: the newest minutes, for the console."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final

from prodkit.core.recording import Recorded
from prodkit.core.redaction import redact_text

__all__ = ["Records", "Window", "number", "text", "unrolled"]

_MAX_NAMES: Final = 256


@dataclass(frozen=True, slots=True)
class Window:
    """The records of a stretch of time.

    Args:
        records: in order of time.
        start: left end, a monotonic instant in seconds.
        end: right end.
        states: of breakers at `start`, by name.
        complete_from: the instant from which events of level DEBUG are complete; later than `start` under a load
            that exceeds the memory.
    """

    records: tuple[Recorded, ...]
    start: float
    end: float
    states: dict[str, str] = field(default_factory=dict[str, str])
    complete_from: float = -math.inf

    def between(self, start: float, end: float) -> Window:
        """Return the window with other ends.

        Args:
            start: left end, a monotonic instant in seconds.
            end: right end.
        """
        return replace(self, start=start, end=max(end, start + 1.0))


class Records:
    """Keep the records of the last `seconds`, at most `limit` of level DEBUG and `limit` above it.

    The levels are kept apart, so that a busy cache does not push the warnings out. Threads may share it.

    Args:
        seconds: age at which a record is dropped.
        limit: most records of each of the two kinds.
    """

    def __init__(self, seconds: float, limit: int) -> None:
        self.added: int = 0
        self._seconds = seconds
        self._limit = limit
        self._lock = threading.Lock()
        self._normal: deque[Recorded] = deque()
        self._notable: deque[Recorded] = deque()
        self._states: dict[str, str] = {}
        self._complete_from = -math.inf

    def __len__(self) -> int:
        return len(self._normal) + len(self._notable)

    def add(self, record: Recorded) -> None:
        """Keep `record`, and drop what is too old or too much."""
        with self._lock:
            kept = self._normal if record.level == "DEBUG" else self._notable
            kept.append(record)
            self.added += 1
            if len(kept) > self._limit:
                dropped = self._drop(kept)
                if kept is self._normal:
                    self._complete_from = dropped.at
            self._expire(record.at)

    def window(self, now: float) -> Window:
        """Return the records of the last seconds before `now`."""
        with self._lock:
            self._expire(now)
            records = sorted((*self._normal, *self._notable), key=lambda record: record.at)
            start = now - self._seconds
            return Window(tuple(records), start, now, dict(self._states), self._complete_from)

    def _expire(self, now: float) -> None:
        for kept in (self._normal, self._notable):
            while kept and kept[0].at < now - self._seconds:
                self._drop(kept)

    def _drop(self, kept: deque[Recorded]) -> Recorded:
        """Drop the oldest record; a breaker's state outlives the record that reported it."""
        record = kept.popleft()
        if record.event.startswith("breaker.") and "after" in record.fields:
            self._states[text(record.fields.get("breaker"))] = text(record.fields["after"])
            if len(self._states) > _MAX_NAMES:
                del self._states[next(iter(self._states))]
        return record


def unrolled(records: Iterable[Recorded]) -> Iterator[Recorded]:
    """Yield `records` with instants from 0 that do not go back.

    The monotonic clock starts again with the machine: there the wall time gives the distance.
    """
    at, last = 0.0, None
    for record in records:
        if not math.isfinite(record.at):
            continue
        if last is not None:
            step = record.at - last.at
            if step < -1.0:
                step = record.time.timestamp() - last.time.timestamp()
            at += max(step, 0.0)
        last = record
        yield replace(record, at=at)


def number(value: Any) -> float | None:
    """Return a finite number, or None for any other `value`."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


def text(value: Any) -> str:
    """Return `value` as text of at most 200 characters, redacted: an event's reason may quote a foreign error."""
    found = value if isinstance(value, str) else "" if value is None else str(value)
    if not isinstance(value, int | float):
        found = redact_text(found)
    return found if len(found) <= 200 else f"{found[:199]}…"
