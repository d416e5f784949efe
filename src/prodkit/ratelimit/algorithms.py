"""The sliding log: pure, in whole microseconds. Its twin in Lua is in ``shared.py``; one suite holds for
both.

A log keeps when something was admitted, and how much. An entry counts until exactly one window after its
instant, so no stretch of that length ever holds more than the amount: there is no edge of a window to stand
on.

Up to 256 every admission is an entry of its own and the wait that a refused caller is told is exact. Above,
entries share slots of a 256th of the window, stamped with the *end* of their slot: memory stays small, the
limit still holds in every window, and a wait may come out up to a 256th of the window longer.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

__all__ = ["Entry", "Log", "Outlook", "admit", "look", "prune", "quantum"]

EXACT_UP_TO: Final = 256


def quantum(amount: int, window: int) -> int:
    """The length of a slot; 1 where every admission has its own entry."""
    return 1 if amount <= EXACT_UP_TO else -(-window // EXACT_UP_TO)


class Entry:
    """`count` admitted at `at`. `stamp` is its instant on the clock of Redis, 0 while Redis does not know
    it.
    """

    __slots__ = ("at", "count", "stamp")

    def __init__(self, at: int, count: int, stamp: int = 0) -> None:
        self.at = at
        self.count = count
        self.stamp = stamp


class Log:
    """Admissions in order of time, and their sum."""

    __slots__ = ("entries", "used")

    def __init__(self) -> None:
        self.entries: deque[Entry] = deque()
        self.used = 0


class Outlook(NamedTuple):
    """What a log says to a caller, in microseconds.

    `wait` until the cost fits (0: now), `more` until any quota comes back, `full` until all of it has.
    """

    remaining: int
    wait: int
    more: int
    full: int


def prune(log: Log, now: int, window: int) -> None:
    """Drops what no longer counts. Each entry is dropped once, so this is O(1) over time."""
    entries = log.entries
    while entries and entries[0].at + window <= now:
        log.used -= entries.popleft().count


def look(log: Log, now: int, amount: int, window: int, cost: int) -> Outlook:
    """Prunes, and tells how `log` stands for `cost` more. O(1) over time where it fits."""
    prune(log, now, window)
    entries = log.entries
    missing = log.used + cost - amount
    wait = (
        window if missing > 0 else 0
    )  # where no wait is long enough: more than the whole amount is asked for
    if not entries:
        return Outlook(amount, wait, 0, 0)
    if missing > 0:
        for entry in entries:
            missing -= entry.count
            if missing <= 0:
                wait = entry.at + window - now
                break
    more, full = entries[0].at + window - now, entries[-1].at + window - now
    return Outlook(max(0, amount - log.used), wait, more, full)


def admit(log: Log, now: int, slot: int, cost: int, stamp: int = 0) -> Entry:
    """Writes an admission down and returns its entry, which in a slot may hold others too."""
    at = now if slot == 1 else -(-now // slot) * slot
    entries = log.entries
    log.used += cost
    if entries and slot > 1 and entries[-1].at >= at and entries[-1].stamp == stamp:
        entries[-1].count += cost
        return entries[-1]
    entry = Entry(at, cost, stamp)
    entries.append(entry)
    return entry
