"""Logs in the memory of this process: bounded, without sweeps, and a live counter is never thrown away."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final, TypeAlias, cast

from prodkit.core.clock import Clock
from prodkit.ratelimit.algorithms import Entry, Log, Outlook, admit, look, prune
from prodkit.ratelimit.decision import Grant
from prodkit.ratelimit.limit import Key, Limit

__all__ = ["Ask", "MemoryStore"]

Ask: TypeAlias = tuple[Limit, Key]


class MemoryStore:
    """One log per limit and key.

    Logs of one window length are kept in order of their last admission, which is the order in which they
    end. Each new log removes up to two ended ones from the front: no sweep, and no more garbage than work.
    When `max_keys` live ones are there, further keys share one log per limit: refusing too many is the safe
    side, forgetting a counter is not.
    """

    def __init__(self, clock: Clock, max_keys: int) -> None:
        self._clock = clock
        self._max_keys = max_keys
        self._tables: dict[int, OrderedDict[tuple[str, object], Log]] = {}
        self._limits: dict[str, Limit] = {}
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def now(self) -> int:
        """Whole microseconds. The hundredth absorbs what float sums of instants and waits lose."""
        return int(self._clock.monotonic() * 1_000_000 + 0.01)

    def take(self, asks: Sequence[Ask], cost: int) -> tuple[list[Outlook], list[Grant]]:
        """All or nothing: takes `cost` from every limit, or from none."""
        now = self.now()
        looks: list[Outlook] = []
        fits = True
        for limit, key in asks:
            table = self._tables.get(limit.window_us)
            log = None if table is None else table.get((limit.series, key))
            if log is None and self._size >= self._max_keys:
                log = self._log(limit, key, now)  # perhaps the shared one
            outlook = look(log or _NOTHING, now, limit.share, limit.window_us, cost)
            fits = fits and not outlook[1]
            looks.append(outlook)
        if not fits or cost == 0:
            return looks, []
        grants = [self.record(limit, key, cost, now) for limit, key in asks]
        for at, (limit, _) in enumerate(asks):
            window, before = limit.window_us, looks[at]
            looks[at] = Outlook(max(0, before[0] - cost), 0, before[2] or window, window)
        return looks, grants

    def record(self, limit: Limit, key: Key, cost: int, now: int, stamp: int = 0) -> Grant:
        """Writes down what was admitted, here or by Redis (`stamp`)."""
        log = self._log(limit, key, now)
        prune(log, now, limit.window_us)
        return Grant(limit, key, log, admit(log, now, limit.quantum_us, cost, stamp), cost)

    def give_back(self, grant: Grant) -> None:
        log, entry = grant.log, grant.entry
        entry.count -= grant.cost
        if entry in log.entries:
            log.used -= grant.cost
            if entry.count <= 0:
                log.entries.remove(entry)

    def forget(self, limit: Limit, key: Key) -> None:
        table = self._tables.get(limit.window_us)
        if table is not None and table.pop((limit.series, key), None) is not None:
            self._size -= 1

    def unmerged(self, limit: Limit, key: Key) -> list[Entry]:
        """The entries that Redis has not counted, oldest first."""
        table = self._tables.get(limit.window_us)
        log = None if table is None else table.get((limit.series, key))
        if log is None:
            return []
        prune(log, self.now(), limit.window_us)
        return [entry for entry in log.entries if entry.stamp == 0]

    def disown(self) -> list[Ask]:
        """Redis has lost what it knew: everything that still counts here is unknown to it. Returns whose it is."""
        now, found = self.now(), list[Ask]()
        for table in self._tables.values():
            for (series, key), log in table.items():
                limit = self._limits[series]
                prune(log, now, limit.window_us)
                for entry in log.entries:
                    entry.stamp = 0
                if log.entries and key is not _OVERFLOW:
                    found.append((limit, cast("Key", key)))
        return found

    def _log(self, limit: Limit, key: Key, now: int) -> Log:
        """The log of `key`, made if need be and moved to the end of its table."""
        window = limit.window_us
        table = self._tables.get(window)
        if table is None:
            table = self._tables[window] = OrderedDict()
        name: tuple[str, object] = (limit.series, key)
        log = table.get(name)
        if log is None:
            for each in tuple(self._tables) if self._size >= self._max_keys else (window,):
                self._drop_ended(each, now)
            if self._size >= self._max_keys:
                name = (limit.series, _OVERFLOW)
                log = table.get(name)
            if log is None:
                log = table[name] = Log()
                self._size += 1
                self._limits[limit.series] = limit
        table.move_to_end(name)
        return log

    def _drop_ended(self, window: int, now: int) -> None:
        table = self._tables[window]
        for _ in range(2):
            if not table:
                return
            entries = table[next(iter(table))].entries
            if entries and entries[-1].at + window > now:
                return
            table.popitem(last=False)
            self._size -= 1


_OVERFLOW: Final = object()
_NOTHING: Final = Log()
