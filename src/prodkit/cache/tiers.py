"""The two tiers behind a cache, and the order in which they are asked and told.

Memory is asked first and told first. Whatever changes a key marks the reads of Redis that are under way, so
that what they bring is not kept: it may be older than the change.
"""

from __future__ import annotations

import asyncio
import math
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from prodkit.cache.codec import Codec, immutable
from prodkit.cache.entry import MISSING, Entry
from prodkit.cache.memory_tier import MemoryTier
from prodkit.cache.outage_log import Journal
from prodkit.cache.redis_tier import Capture, SharedTier
from prodkit.core.clock import Clock
from prodkit.errors import PoolExhaustedError, RedisError
from prodkit.redis.link import RedisLink

__all__ = ["Stats", "Tiers"]

T = TypeVar("T")

_OURS: Final = 0.25


@dataclass(slots=True)
class Stats:
    """What a cache has counted since it was made."""

    memory_hits: int = 0
    redis_hits: int = 0
    stale_hits: int = 0
    misses: int = 0
    loads: int = 0
    overtaken: int = 0
    refresh_failures: int = 0
    corrupt: int = 0


class _Reading:
    __slots__ = ("count", "overtaken")

    def __init__(self) -> None:
        self.count = 0
        self.overtaken = False


class Tiers:
    """Memory, Redis and the journal between them."""

    def __init__(
        self,
        link: RedisLink | None,
        namespace: str,
        clock: Clock,
        codec: Codec,
        memory: MemoryTier,
        journal: Journal,
        max_staleness: float,
    ) -> None:
        self.link = link if link is not None and link.configured else None
        self.memory = memory
        self.journal = journal
        self.stats = Stats()
        self._now = clock.monotonic
        self._codec = codec
        self._max_staleness = max_staleness
        self._shared = None if self.link is None else SharedTier(self.link, namespace, codec.name)
        self._reading: dict[str, _Reading] = {}
        self._eras = 0
        self.era = -1
        self._replaying = asyncio.Lock()

    @property
    def coherent(self) -> bool:
        """Whether every change by others is heard."""
        return self.era > 0

    @property
    def linked(self) -> bool:
        """Whether there is a Redis to ask now."""
        return self.link is not None and self.link.up

    # -- entries --
    def entry(
        self, payload: bytes, fresh: float, whole: float, *, cost: float = 0.0, tags: tuple[str, ...] = ()
    ) -> Entry:
        """An entry that begins now. Decodes the payload, so that what is read first is what is read later."""
        now = self._now()
        value = self._codec.decode(payload)
        return Entry(
            payload,
            value if immutable(value) else MISSING,
            soft=now + fresh,
            hard=now + whole,
            trusted=now + self._max_staleness if self.link is not None else math.inf,
            cost=cost,
            tags=frozenset(tags),
        )

    def value(self, entry: Entry) -> Any:
        """What is stored in `entry`, the reader's own."""
        return self._codec.decode(entry.payload) if entry.value is MISSING else entry.value

    # -- reading --
    def at_hand(self, key: str) -> Entry | None:
        """What memory has, if it can be used without asking Redis."""
        entry = self.memory.get(key)
        if entry is None:
            return None
        now = self._now()
        if now >= entry.hard:
            self.memory.remove(key)
            return None
        if now >= entry.trusted and entry.era != self.era and self.linked:
            return None
        self.memory.touch(key)
        return entry

    async def fetch(self, key: str, tags: Sequence[str] | None = None) -> tuple[Entry | None, Capture | None]:
        """What Redis has, and what a load has to know (with `tags`); what memory has, if Redis cannot be
        asked.
        """
        shared = self._shared
        if shared is None or not self.linked:
            return self.at_hand(key), None
        reading = self._reading.get(key)
        if reading is None:
            reading = self._reading[key] = _Reading()
        reading.count += 1
        era = self.era
        try:
            if len(self.journal) or self._replaying.locked():
                await self.replay()
            found, capture, corrupt = await shared.read(key, tags)
        except (RedisError, PoolExhaustedError):
            kept = self.memory.get(key)
            return (kept if kept is not None and self._now() < kept.hard else None), None
        finally:
            reading.count -= 1
            if not reading.count and self._reading.get(key) is reading:
                del self._reading[key]
        entry = None
        if found is not None:
            try:
                fresh = found.left - found.stale
                entry = self.entry(found.payload, fresh, found.left, cost=found.cost, tags=found.tags)
                entry.era = max(era, 0)
            except Exception:  # noqa: BLE001 - whatever a foreign payload makes a codec raise, it is a miss
                corrupt = True
        self.stats.corrupt += corrupt
        self.stats.redis_hits += entry is not None
        if not reading.overtaken:
            if entry is None:
                self.memory.remove(key)
            else:
                self.memory.put(key, entry)
        return entry, capture

    # -- writing --
    def overtake(self, key: str) -> None:
        """Reads of `key` under way bring nothing into memory any more."""
        reading = self._reading.pop(key, None)
        if reading is not None:
            reading.overtaken = True

    def overtake_all(self) -> None:
        for key in tuple(self._reading):
            self.overtake(key)

    async def write(self, key: str, entry: Entry, capture: Capture | None = None) -> bool:
        """Stores in Redis; with a `capture` only if nothing has happened to `key` since."""
        assert self._shared is not None
        now = self._now()
        if entry.hard <= now:
            return False
        return await self._shared.write(
            key,
            entry.payload,
            life=entry.hard - now,
            stale=0.0 if entry.hard == entry.soft else entry.hard - entry.soft,
            cost=entry.cost,
            tags=sorted(entry.tags),
            write_id=secrets.token_hex(8),
            capture=capture,
        )

    async def tell(
        self,
        change: Callable[[SharedTier], Awaitable[T]],
        *,
        keys: tuple[str, ...] = (),
        tags: tuple[str, ...] = (),
        pattern: str | None = None,
        everything: bool = False,
    ) -> tuple[T | None, bool]:
        """Makes a change in Redis now, or writes down what it invalidates: then the second value is True."""
        if self._shared is None:
            return None, False
        if self.linked:
            try:
                if len(self.journal) or self._replaying.locked():
                    await self.replay()
                return await change(self._shared), False
            except (RedisError, PoolExhaustedError):
                pass
            except BaseException:  # cancelled, or out of time: whether it took effect is unknown
                self.journal.add(keys=keys, tags=tags, pattern=pattern, everything=everything)
                raise
        self.journal.add(keys=keys, tags=tags, pattern=pattern, everything=everything)
        return None, True

    # -- what others change (Hears) --
    def armed(self) -> None:
        """What is read from here on is heard of when it changes; what was read before is asked for anew."""
        self._eras += 1
        self.era = self._eras

    def lost(self) -> None:
        self.era = -1

    def flushed(self) -> None:
        self.overtake_all()
        self.memory.clear()

    def changed(self, name: str) -> None:
        kind, _, key = name.partition(":")
        if kind == "v":
            self.overtake(key)
            entry = self.memory.get(key)
            if entry is not None and self._now() < entry.ours_until:
                entry.trusted, entry.era = 0.0, 0
            else:
                self.memory.remove(key)
        elif kind == "t":
            self.overtake_all()
            self.drop_tags(frozenset((key,)))
        elif kind == "g":
            self.flushed()

    def written(self, entry: Entry, later: bool = False) -> None:
        """Redis has `entry`. Who changed it since may have been heard already, so the next reader asks Redis.

        It stays for the case that Redis goes away. News of the next moment may be of this very writing.
        """
        entry.ours_until = 0.0 if later else self._now() + _OURS
        if self.coherent and not later:
            entry.trusted, entry.era = 0.0, 0

    def drop_tags(self, tags: frozenset[str]) -> None:
        for key, entry in self.memory:
            if not tags.isdisjoint(entry.tags):
                self.memory.remove(key)

    # -- after an outage --
    async def recover(self) -> None:
        """Called by the link before anybody reads again."""
        await self.replay()
        for _, entry in self.memory:
            entry.trusted, entry.era = 0.0, 0  # others may have changed it meanwhile

    async def replay(self) -> None:
        """Tells Redis what was invalidated without it. What fails is kept and raises."""
        shared, journal = self._shared, self.journal
        assert shared is not None
        async with self._replaying:
            # Each is taken out before it is sent: what is written down meanwhile is newer, and must stay.
            while len(journal):
                everything, keys, tags, patterns = journal.take(500)
                try:
                    if everything:
                        await shared.clear()
                    if keys:
                        await shared.delete(keys, secrets.token_hex(8))
                    if tags:
                        await shared.move_tags(tags)
                    for pattern in patterns:
                        await shared.delete_matching(pattern)
                except BaseException:
                    journal.add(keys=keys, tags=tags, everything=everything)
                    for pattern in patterns:
                        journal.add(pattern=pattern)
                    raise
