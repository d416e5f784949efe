"""The two tiers behind a cache, and the order in which they are read and written.

Memory is read first and written first. Every change of a key marks the reads of Redis that are in flight: their
replies may be older than the change, so they are returned and not kept.
"""

from __future__ import annotations

import copy
import math
import secrets
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, TypeVar

from prodkit.cache.catch_up import CatchUp
from prodkit.cache.codec import IMMUTABLE, Codec
from prodkit.cache.entry import MISSING, Entry
from prodkit.cache.failures import decode_failure
from prodkit.cache.memory_tier import MemoryTier
from prodkit.cache.outage_log import OutageLog
from prodkit.cache.redis_tier import RedisTier, Snapshot, StoredValue
from prodkit.core.clock import Clock
from prodkit.errors import PoolExhaustedError, RedisError
from prodkit.redis.link import RedisLink

__all__ = ["Copy", "Stats", "Tiers"]

T = TypeVar("T")
Copy: TypeAlias = Literal["never", "shallow", "deep"]

_OWN: Final = 0.25
_NO_TAGS: Final[frozenset[str]] = frozenset()


@dataclass(slots=True)
class Stats:
    """Counters of one cache since it was made.

    `superseded` counts loads that were not stored because of an invalidation, `corrupt` unreadable payloads.
    """

    memory_hits: int = 0
    redis_hits: int = 0
    stale_hits: int = 0
    misses: int = 0
    loads: int = 0
    superseded: int = 0
    refresh_failures: int = 0
    corrupt: int = 0


class _Reading:
    """The reads of one key that are in flight."""

    __slots__ = ("count", "superseded")

    def __init__(self) -> None:
        self.count = 0
        self.superseded = False


class Tiers:
    """Memory, Redis, and the outage log between them.

    Args:
        link: the link to Redis, or None.
        namespace: the prefix of keys.
        clock: the source of monotonic time.
        codec: values to bytes and back.
        memory: the memory tier.
        log: the outage log.
        max_staleness: seconds for which an entry is used without asking Redis, while changes are not heard.
        copies: see :class:`Cache`.
    """

    def __init__(
        self,
        link: RedisLink | None,
        namespace: str,
        clock: Clock,
        codec: Codec,
        memory: MemoryTier,
        log: OutageLog,
        max_staleness: float,
        copies: Copy,
    ) -> None:
        self.link: RedisLink | None = link if link is not None and link.configured else None
        self.memory = memory
        self.log = log
        self.stats: Stats = Stats()
        self._now = clock.monotonic
        self._codec = codec
        self._decode = codec.decode
        self._copies: Copy = copies
        self._max_staleness = max_staleness
        self.redis: RedisTier | None = (
            None if self.link is None else RedisTier(self.link, namespace, codec.name)
        )
        self.catch_up: CatchUp | None = (
            None if self.link is None or self.redis is None else CatchUp(self.link, self.redis, log, clock)
        )
        self._reading: dict[str, _Reading] = {}
        self._sessions = 0
        self.session: int = -1

    @property
    def coherent(self) -> bool:
        """True while every change by another process is heard."""
        return self.session > 0

    @property
    def linked(self) -> bool:
        """True while there is a Redis to ask."""
        return self.link is not None and self.link.up

    # --- entries ----------------------------------------------------------------------------------------------------

    def entry(
        self, payload: bytes, fresh: float, whole: float, *, cost: float = 0.0, tags: Sequence[str] = ()
    ) -> Entry:
        """Return an entry that begins now. The payload is decoded, so the first reader sees what later ones see.

        Args:
            payload: the encoded value.
            fresh: seconds until it is stale.
            whole: seconds until it is gone.
            cost: seconds that the load took.
            tags: its tags.
        """
        now = self._now()
        failure = decode_failure(payload) if payload[:1] == b"\x00" else None
        value = MISSING if failure is not None else self._decode(payload)
        kept = self._copies != "deep" or type(value) in IMMUTABLE
        if kept and type(value) is str and sys.getsizeof(value) > 2 * len(payload) + 1000:
            kept = False  # one emoji makes Python use four bytes for each character of the text
        return Entry(
            payload,
            value if kept else MISSING,
            fresh_until=now + fresh,
            expires_at=now + whole,
            revalidate_at=now + self._max_staleness if self.link is not None else math.inf,
            cost=cost,
            tags=frozenset(tags) if tags else _NO_TAGS,
            failure=failure,
        )

    def value(self, entry: Entry) -> Any:
        """Return the value in `entry`, the reader's own unless `copy` says otherwise.

        Args:
            entry: from memory or Redis.
        """
        if entry.value is MISSING:
            return self._codec.decode(entry.payload)
        if self._copies == "shallow":
            return copy.copy(entry.value)
        return entry.value

    @property
    def shares_values(self) -> bool:
        """True when a value may be returned to every reader as it is."""
        return self._copies != "shallow"

    def keep(self, key: str, entry: Entry) -> None:
        """Put `entry` into memory.

        Args:
            key: the key.
            entry: the entry.
        """
        if entry.value is not MISSING:
            entry.payload = b""  # the decoded value is enough
        self.memory.put(key, entry)

    # --- reading ----------------------------------------------------------------------------------------------------

    def local(self, key: str) -> Entry | None:
        """Return the entry in memory, if it can be used without asking Redis.

        Args:
            key: the key.
        """
        entry = self.memory.get(key)
        if entry is None:
            return None
        now = self._now()
        if now >= entry.expires_at:
            self.memory.remove(key)
            return None
        if now >= entry.revalidate_at and entry.session != self.session and self.linked:
            return None
        self.memory.touch(key)
        return entry

    async def fetch(self, key: str) -> Entry | None:
        """Return the entry of Redis; that of memory, if Redis cannot be asked.

        Args:
            key: the key.
        """
        redis = self.redis
        if redis is None or not self.linked:
            return self.local(key)
        reading, session = self._begin(key), self.session
        try:
            if len(self.log) or (self.catch_up is not None and self.catch_up.replaying):
                await self._replay()
            found, corrupt = await redis.read(key)
        except (RedisError, PoolExhaustedError):
            kept = self.memory.get(key)
            return kept if kept is not None and self._now() < kept.expires_at else None
        finally:
            self._end(key, reading)
        return self._received(key, reading, session, found, corrupt)

    async def fetch_many(self, keys: Sequence[str]) -> list[Entry | None]:
        """Return for each key what :meth:`fetch` returns, in one round trip.

        Args:
            keys: the keys.
        """
        redis = self.redis
        if redis is None or not self.linked or not keys:
            return [self.local(key) for key in keys]
        readings, session = [self._begin(key) for key in keys], self.session
        try:
            await self._replay()
            found = await redis.read_many(keys)
        except (RedisError, PoolExhaustedError):
            return [
                kept if (kept := self.memory.get(key)) is not None and self._now() < kept.expires_at else None
                for key in keys
            ]
        finally:
            for key, reading in zip(keys, readings, strict=True):
                self._end(key, reading)
        return [
            self._received(key, reading, session, *each)
            for key, reading, each in zip(keys, readings, found, strict=True)
        ]

    async def capture(self, key: str, tags: Sequence[str]) -> Snapshot | None:
        """Return the versions before a load; None if Redis cannot be asked.

        Args:
            key: the key to be loaded.
            tags: the tags it will have.
        """
        if self.redis is None or not self.linked:
            return None
        try:
            return await self.redis.capture(key, tags)
        except (RedisError, PoolExhaustedError):
            return None

    def _begin(self, key: str) -> _Reading:
        reading = self._reading.get(key)
        if reading is None:
            reading = self._reading[key] = _Reading()
        reading.count += 1
        return reading

    def _end(self, key: str, reading: _Reading) -> None:
        reading.count -= 1
        if not reading.count and self._reading.get(key) is reading:
            del self._reading[key]

    def _received(
        self, key: str, reading: _Reading, session: int, found: StoredValue | None, corrupt: bool
    ) -> Entry | None:
        entry = None
        if found is not None:
            try:
                fresh = found.left - found.stale
                entry = self.entry(found.payload, fresh, found.left, cost=found.cost, tags=found.tags)
                entry.session = max(session, 0)
            except Exception:  # noqa: BLE001 - whatever a foreign payload makes a codec raise, it is a miss
                corrupt = True
        self.stats.corrupt += corrupt
        self.stats.redis_hits += entry is not None
        if not reading.superseded:
            if entry is None:
                self.memory.remove(key)
            else:
                self.keep(key, entry)
        return entry

    # --- writing ----------------------------------------------------------------------------------------------------

    def supersede(self, key: str) -> None:
        """Keep reads of `key` that are in flight out of memory.

        Args:
            key: the key that changes.
        """
        reading = self._reading.pop(key, None)
        if reading is not None:
            reading.superseded = True

    def supersede_all(self) -> None:
        """Keep all reads that are in flight out of memory."""
        for key in tuple(self._reading):
            self.supersede(key)

    def write_arguments(self, entry: Entry) -> dict[str, Any] | None:
        """Return the arguments of :meth:`RedisTier.write` beside the payload; None for an entry that is over.

        Args:
            entry: the entry to store.
        """
        now = self._now()
        if entry.expires_at <= now:
            return None
        return {
            "life": entry.expires_at - now,
            "stale": 0.0 if entry.expires_at == entry.fresh_until else entry.expires_at - entry.fresh_until,
            "cost": entry.cost,
            "tags": sorted(entry.tags),
            "write_id": secrets.token_hex(8),
        }

    async def write(
        self, key: str, payload: bytes, entry: Entry, snapshot: Snapshot | None = None, lease: str = ""
    ) -> bool:
        """Store in Redis; with a `snapshot` only if nothing has happened to `key` since.

        Args:
            key: the key.
            payload: the encoded value.
            entry: its times and tags.
            snapshot: the versions before the load.
            lease: the token of the lease under which it was loaded.
        """
        assert self.redis is not None
        arguments = self.write_arguments(entry)
        if arguments is None:
            return False
        return await self.redis.write(key, payload, **arguments, snapshot=snapshot, lease=lease)

    async def apply(
        self,
        change: Callable[[RedisTier], Awaitable[T]],
        *,
        keys: tuple[str, ...] = (),
        tags: tuple[str, ...] = (),
        patterns: tuple[str, ...] = (),
        everything: bool = False,
    ) -> tuple[T | None, bool]:
        """Make a change in Redis now, or log what it invalidates: then the second value is True.

        Args:
            change: makes the change.
            keys: the keys that it invalidates.
            tags: the tags that it invalidates.
            patterns: the patterns that it invalidates.
            everything: whether it invalidates the namespace.
        """
        if self.redis is None or self.catch_up is None:
            return None, False
        if self.linked:
            try:
                await self._replay()
                result = await change(self.redis)
                self.catch_up.done(keys=keys, tags=tags, patterns=patterns, everything=everything)
            except (RedisError, PoolExhaustedError):
                pass
            except BaseException:  # cancelled, or out of time: whether it took effect is unknown
                self.log.add(keys=keys, tags=tags, patterns=patterns, everything=everything)
                raise
            else:
                return result, False
        self.log.add(keys=keys, tags=tags, patterns=patterns, everything=everything)
        return None, True

    async def _replay(self) -> None:
        if len(self.log) or (self.catch_up is not None and self.catch_up.replaying):
            assert self.catch_up is not None
            await self.catch_up.replay()

    def written(self, entry: Entry, later: bool = False) -> None:
        """Note that Redis has `entry`; the next reader asks Redis, as a later change may have been heard before.

        It stays for the case that Redis goes away. A message of the next moment may be of this very write.

        Args:
            entry: the entry.
            later: it was logged only.
        """
        entry.own_until = 0.0 if later else self._now() + _OWN
        if self.coherent and not later:
            entry.distrust()

    def drop_tags(self, tags: frozenset[str]) -> None:
        """Remove entries with one of `tags` from memory.

        Args:
            tags: the tags.
        """
        for key, entry in self.memory:
            if not tags.isdisjoint(entry.tags):
                self.memory.remove(key)

    # --- changes by other processes (Listener) ----------------------------------------------------------------------

    async def prepare(self) -> None:
        """Make the versions of the namespace: their making afterwards would be heard as :meth:`Cache.clear`."""
        assert self.redis is not None
        await self.redis.capture("", ())

    def on_ready(self) -> None:
        """Begin a tracking session: changes of values read from here on are heard; older ones are asked about."""
        self._sessions += 1
        self.session = self._sessions

    def on_lost(self) -> None:
        """End the tracking session: entries that relied on it are asked about before their next use."""
        if self.session > 0:
            for _, entry in self.memory:
                if entry.session == self.session:
                    entry.distrust()
        self.session = -1

    def on_flush(self) -> None:
        """Forget everything."""
        self.supersede_all()
        self.memory.clear()

    def on_change(self, name: str) -> None:
        """Forget one value, or all that depend on a version.

        Args:
            name: of the Redis key, without the namespace.
        """
        kind, _, key = name.partition(":")
        if kind == "v":
            self.supersede(key)
            entry = self.memory.get(key)
            if entry is not None and self._now() < entry.own_until:
                entry.distrust()
            else:
                self.memory.remove(key)
        elif kind == "t":
            self.supersede_all()
            self.drop_tags(frozenset((key,)))
        elif kind == "g":
            self.on_flush()
        elif kind == "p":
            self.supersede_all()
            self.distrust_all()

    def distrust_all(self) -> None:
        """Ask Redis about every entry before its next use."""
        for _, entry in self.memory:
            entry.distrust()

    # --- after an outage --------------------------------------------------------------------------------------------

    async def recover(self) -> None:
        """Replay the log, up to the sweep of patterns. Called by the link before other callers read."""
        assert self.catch_up is not None
        await self.catch_up.recover()
        self.distrust_all()  # other processes may have changed it
