"""Logs in the memory of this process: bounded, without sweeps of all keys, and a live counter is never dropped."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from time import monotonic, monotonic_ns
from typing import Final, TypeAlias, cast

from prodkit.core.clock import Clock
from prodkit.policies.fast_clock import fast_clock_of
from prodkit.ratelimit.algorithms import AT, COUNT, STAMP, Entry, Log, Outlook, admit, look, prune, trim
from prodkit.ratelimit.decision import Decision, Grant
from prodkit.ratelimit.limit import Key, Limit

__all__ = ["Ask", "MemoryStore"]

Ask: TypeAlias = tuple[Limit, Key]


class MemoryStore:
    """One log per limit and key.

    Logs of one limit are kept in order of their last admission, which is the order in which they end:

        oldest ─▶ [a: ends 12:00:01] [b: ends 12:00:07] … [z: ends 12:00:59] ◀─ newest, moved here when it admits

    Ended logs are taken from the front, two for each new one, so there is no more garbage than work.
    When `max_keys` live ones are there, further keys share one log per limit: refusing too many is the safe side,
    dropping a live counter is not.

    Args:
        clock: the source of monotonic time.
        max_keys: logs kept at the same time.
    """

    def __init__(self, clock: Clock, max_keys: int) -> None:
        self._clock = fast_clock_of(clock)
        self._max_keys = max_keys
        self._tables: dict[str, OrderedDict[object, Log]] = {}
        self._limits: dict[str, Limit] = {}
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def now(self) -> int:
        """Return whole microseconds. The hundredth absorbs what float sums of instants and waits lose."""
        read = self._clock()
        return monotonic_ns() // 1000 if read is monotonic else int(read() * 1_000_000 + 0.01)

    def take_one(self, limit: Limit, key: Key) -> Decision:
        """Take 1 from a plain limit: the short way of :meth:`take`, a microsecond in all.

        Args:
            limit: neither shadow nor count_denied.
            key: the caller.
        """
        read = self._clock()
        # On the system's clock whole numbers all the way: half the price, and no other instant than now() gives.
        now = monotonic_ns() // 1000 if read is monotonic else int(read() * 1_000_000 + 0.01)
        table = self._tables.get(limit.series)
        log = table.get(key) if table is not None else None
        if log is None:
            log = self._log(limit, key, now)
            table = None  # moved to its end already
        entries, left, first = log.entries, limit.window_us - now, 0
        while entries and (first := entries[0][0] + left) <= 0:
            log.used -= entries.popleft()[1]
        decision = _NEW(Decision)
        decision._limits = (limit,)
        decision.source = "memory"
        decision.cost = 1
        # Plain tuples in the shape of an Outlook: to name their fields costs as much as the rest of this function.
        used, share = log.used, limit.share
        if used >= share:
            decision.allowed = False
            decision.grants = ()
            if used > share:
                decision._outlooks = (look(log, now, share, limit.window_us, 1),)
            else:
                # The first entry gives back 1 at least, which is enough.
                decision._outlooks = ((0, first, first, entries[-1][0] + left),)
            return decision
        log.used, slot = used + 1, limit.quantum_us
        if slot > 1 and entries and (entry := entries[-1])[0] // slot == now // slot and not entry[2]:
            entry[0] = now  # as admit() does: the slot of the last admission has not ended
            entry[1] += 1
        else:
            entry = [now, 1, 0]
            entries.append(entry)
        if table is not None:
            table.move_to_end(key)
        decision.allowed = True
        decision.grants = ((limit, key, log, entry, 1),)
        decision._outlooks = ((share - used - 1, 0, entries[0][0] + left, entry[0] + left),)
        return decision

    def take(self, asks: Sequence[Ask], cost: int) -> tuple[list[Outlook], list[Grant]]:
        """Take `cost` from every limit, or from none.

        Args:
            asks: limits and callers.
            cost: the quota asked for; 0 only looks.
        """
        now = self.now()
        looks: list[Outlook] = []
        fits = True
        for limit, key in asks:
            outlook = look(self._find(limit, key, now), now, limit.share, limit.window_us, cost)
            fits = fits and (not outlook.wait or limit.shadow)
            looks.append(outlook)
        if cost == 0:
            return looks, []
        grants: list[Grant] = []
        for at, (limit, key) in enumerate(asks):
            outlook = looks[at]
            room = not outlook.wait
            if not (limit.count_denied or (fits and room)):
                continue
            grant = self.record(limit, key, cost, now)
            if fits and room:
                grants.append(grant)
                left = limit.window_us - now
                more, full = grant[2].entries[0][AT] + left, grant[3][AT] + left
                looks[at] = Outlook(max(0, outlook.remaining - cost), 0, more, full)
            else:
                trim(grant[2], limit.share)
                after = look(grant[2], now, limit.share, limit.window_us, cost)
                looks[at] = after if outlook.wait else after._replace(wait=0)
        return looks, grants

    def record(self, limit: Limit, key: Key, cost: int, now: int, stamp: int = 0) -> Grant:
        """Record an admission, made here or by Redis.

        Args:
            limit: the limit.
            key: the caller.
            cost: the quota taken.
            now: the instant in microseconds.
            stamp: the instant on the clock of Redis; 0 when Redis does not know of it.
        """
        log = self._log(limit, key, now)
        prune(log, now, limit.window_us)
        return limit, key, log, admit(log, now, limit.quantum_us, cost, stamp), cost

    def give_back(self, grant: Grant) -> None:
        """Undo what `record` did.

        Args:
            grant: the admission.
        """
        _, _, log, entry, cost = grant
        entry[COUNT] -= cost
        if any(each is entry for each in log.entries):
            log.used -= cost
            if entry[COUNT] <= 0:
                log.entries = type(log.entries)(each for each in log.entries if each is not entry)

    def forget(self, limit: Limit, key: Key) -> None:
        """Drop the log of `key`.

        Args:
            limit: the limit.
            key: the caller.
        """
        table = self._tables.get(limit.series)
        if table is not None and table.pop(key, None) is not None:
            self._size -= 1

    def entries(self, limit: Limit, key: Key, *, every: bool) -> list[Entry]:
        """Return the live entries that Redis has not counted, oldest first.

        Args:
            limit: the limit.
            key: the caller.
            every: those that it has counted as well.
        """
        log = self._tables.get(limit.series, _EMPTY).get(key)
        if log is None:
            return []
        prune(log, self.now(), limit.window_us)
        return [entry for entry in log.entries if every or entry[STAMP] == 0]

    def live(self, *, every: bool) -> Iterator[Ask]:
        """Drop the logs that have ended and return the callers of the others.

        Args:
            every: also those of whom Redis knows everything.
        """
        now = self.now()
        for series, table in self._tables.items():
            limit = self._limits[series]
            for key in list(table):
                log = table[key]
                prune(log, now, limit.window_us)
                if not log.entries:
                    del table[key]
                    self._size -= 1
                    if not table:
                        table.clear()
                elif key is not _OVERFLOW and (every or any(entry[STAMP] == 0 for entry in log.entries)):
                    yield limit, cast("Key", key)

    def drop_ended(self, most: int) -> int:
        """Drop up to `most` ended logs of each limit, from the front; return how many.

        Args:
            most: bounds the time that this takes.
        """
        now = self.now()
        return sum(self._drop_ended(series, now, most) for series in self._tables)

    def _find(self, limit: Limit, key: Key, now: int) -> Log:
        log = self._tables.get(limit.series, _EMPTY).get(key)
        if log is None:
            if self._size < self._max_keys:
                return _NOTHING
            log = self._log(limit, key, now)  # perhaps the shared one
        return log

    def _log(self, limit: Limit, key: Key, now: int) -> Log:
        """Return the log of `key`, made if need be and moved to the end of its table."""
        series = limit.series
        table = self._tables.get(series)
        if table is None:
            table = self._tables[series] = OrderedDict()
            self._limits[series] = limit
        name: object = key
        log = table.get(name)
        if log is None:
            for each in self._tables if self._size >= self._max_keys else (series,):
                self._drop_ended(each, now, 2)
            if self._size >= self._max_keys:
                name = _OVERFLOW
                log = table.get(name)
            if log is None:
                log = table[name] = Log()
                self._size += 1
        table.move_to_end(name)
        return log

    def _drop_ended(self, series: str, now: int, most: int) -> int:
        table, window = self._tables[series], self._limits[series].window_us
        for count in range(most):
            if not table:
                return count
            entries = table[next(iter(table))].entries
            if entries and entries[-1][AT] + window > now:
                return count
            table.popitem(last=False)
            self._size -= 1
            if not table:
                table.clear()  # an emptied dictionary keeps its memory until then
        return most


_NEW: Final = Decision.__new__
_OVERFLOW: Final = object()
_NOTHING: Final = Log()
_EMPTY: Final[OrderedDict[object, Log]] = OrderedDict()
