"""The sliding log: pure, in whole microseconds. Its twin in Lua is in ``redis_store.py``; one suite tests both.

A log keeps the instant and the cost of each admission. An entry counts until exactly one window after its instant, so
no stretch of that length ever holds more than the amount. Example, 3 in 60 s:

    t=0  admit   [0]               t=10 admit  [0, 10]            t=20 admit  [0, 10, 20]
    t=30 refuse: 3 + 1 - 3 = 1 is missing; the entry of t=0 gives it back at t=60, so wait = 30 s
    t=60 admit   [10, 20, 60]

Up to an amount of 256 every admission is an entry of its own and the wait of a refused caller is exact. Above that,
the admissions of a 256th of the window share an entry, which bears the instant of the latest one: memory stays small,
the limit still holds in every window, and a wait may come out up to a 256th of the window longer, never longer than the
window:

    slot 7 │ t=700 admit 1 [700: 1]   t=740 admit 5 [740: 6]   t=790 admit 1 [790: 7] │ slot 8: t=805 [790: 7, 805: 1]
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple, TypeAlias

__all__ = ["AT", "COUNT", "STAMP", "Entry", "Log", "Outlook", "admit", "look", "prune", "quantum", "trim"]

EXACT_UP_TO: Final = 256

Entry: TypeAlias = list[int]
"""Instant, count, stamp. A list, because one is made for every admission. The stamp is the instant on the clock of
Redis, 0 while Redis does not know the entry."""
AT: Final = 0
COUNT: Final = 1
STAMP: Final = 2


def quantum(amount: int, window: int) -> int:
    """Return the length of a slot; 1 where every admission has its own entry.

    Args:
        amount: the most in one window.
        window: its length in microseconds.
    """
    return 1 if amount <= EXACT_UP_TO else -(-window // EXACT_UP_TO)


class Log:
    """Admissions in order of time, and their sum."""

    __slots__ = ("entries", "used")

    def __init__(self) -> None:
        self.entries: deque[Entry] = deque()
        self.used: int = 0


class Outlook(NamedTuple):
    """The state of a log for one caller, in microseconds.

    `wait` until the cost fits (0: now), `more` until any quota comes back, `full` until all of it has.
    """

    remaining: int
    wait: int
    more: int
    full: int


def prune(log: Log, now: int, window: int) -> None:
    """Drop what no longer counts. Each entry is dropped once, so this is O(1) over time.

    Args:
        log: the log, changed in place.
        now: the instant in microseconds.
        window: the length of the window in microseconds.
    """
    entries = log.entries
    while entries and entries[0][AT] + window <= now:
        log.used -= entries.popleft()[COUNT]


def look(log: Log, now: int, amount: int, window: int, cost: int) -> Outlook:
    """Prune, and return how `log` stands for `cost` more. O(1) over time where it fits.

    Args:
        log: the log, pruned in place.
        now: the instant in microseconds.
        amount: the most in one window.
        window: its length in microseconds.
        cost: the quota asked for; 0 only looks.
    """
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
            missing -= entry[COUNT]
            if missing <= 0:
                wait = entry[AT] + window - now
                break
    more, full = entries[0][AT] + window - now, entries[-1][AT] + window - now
    return Outlook(max(0, amount - log.used), wait, more, full)


def admit(log: Log, now: int, slot: int, cost: int, stamp: int = 0) -> Entry:
    """Record an admission and return its entry, which in a slot may hold others too.

    Args:
        log: the log, changed in place.
        now: the instant in microseconds.
        slot: the length of a slot, see :func:`quantum`.
        cost: the quota taken.
        stamp: the instant on the clock of Redis, 0 when Redis does not know of it.
    """
    entries = log.entries
    log.used += cost
    if slot > 1 and entries:
        last = entries[-1]
        known = last[STAMP]
        # What Redis knows is divided as Redis divides it, by its clock, so that a refund finds the same entry there.
        if (known > 0 and stamp > 0 and known // slot == stamp // slot) or (
            known == stamp == 0 and last[AT] // slot == now // slot
        ):
            last[AT], last[STAMP] = max(now, last[AT]), max(stamp, known)
            last[COUNT] += cost
            return last
    entry = [now, cost, stamp]
    entries.append(entry)
    return entry


def trim(log: Log, amount: int) -> None:
    """Keep no more than what fills `amount`: with refusals counted too, the newest entries decide alone.

    Args:
        log: the log, changed in place.
        amount: the most in one window.
    """
    entries = log.entries
    while log.used - entries[0][COUNT] >= amount:
        log.used -= entries.popleft()[COUNT]
