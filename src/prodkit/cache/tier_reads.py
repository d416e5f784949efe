"""Entries of the two tiers: made, kept in memory, and read from Redis.

::

    fetch ─▶ lone: redis_tier.read ──────────────┐
      └─ several of one tick: redis_tier.read_many ├─▶ entry, kept in memory unless the key has changed (reads.py)
                                                    └─▶ the entry in memory, where Redis still has what it was made of
"""

from __future__ import annotations

import copy
import math
import sys
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, TypeVar, cast

from prodkit.cache.catch_up import CatchUp
from prodkit.cache.codec import IMMUTABLE, Codec, JsonCodec, MsgpackCodec
from prodkit.cache.entry import MISSING, Entry
from prodkit.cache.failures import decode_failure
from prodkit.cache.memory_tier import MemoryTier
from prodkit.cache.outage_log import OutageLog
from prodkit.cache.packing import pack, unpack
from prodkit.cache.reads import Reads
from prodkit.cache.redis_tier import RedisTier, Snapshot
from prodkit.cache.stored_value import Found, StoredValue, Unchanged
from prodkit.core.clock import Clock
from prodkit.errors import PoolExhaustedError, RedisError
from prodkit.redis.link import RedisLink
from prodkit.redis.tick import Tick

__all__ = ["Copy", "Stats", "TierReads"]

T = TypeVar("T")
Copy: TypeAlias = Literal["never", "shallow", "deep"]

_CONTAINERS: Final = (dict, list)
_NO_TAGS: Final[frozenset[str]] = frozenset()
_BATCH: Final = 10_000  # keys of one tick; the Redis tier divides them into scripts


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


class TierReads:
    """Memory and Redis as they are read; :class:`~prodkit.cache.tiers.Tiers` writes them.

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
        self._packs = copies == "deep" and type(codec) in (JsonCodec, MsgpackCodec)
        self.shares_values: bool = copies != "shallow"  # a value may be returned to every reader as it is
        self._max_staleness = max_staleness
        self.redis: RedisTier | None = (
            None if self.link is None else RedisTier(self.link, namespace, codec.name, memory.get)
        )
        self.catch_up: CatchUp | None = (
            None if self.link is None or self.redis is None else CatchUp(self.link, self.redis, log, clock)
        )
        self._reads = Reads()
        self._tick: Tick[str, Entry | None] = Tick(self.fetch_many, _BATCH)
        self._sessions = 0
        self.session: int = -1

    @property
    def coherent(self) -> bool:
        """True while every change by another process is heard."""
        return self.session > 0

    def _begin_session(self) -> None:
        self._sessions += 1
        self.session = self._sessions

    def _end_session(self) -> None:
        self.session = -1

    @property
    def linked(self) -> bool:
        """True while there is a Redis to ask."""
        return self.link is not None and self.link.up

    # --- entries ----------------------------------------------------------------------------------------------------

    def entry(
        self,
        payload: bytes,
        fresh: float,
        whole: float,
        *,
        cost: float = 0.0,
        tags: Sequence[str] = (),
        now: float | None = None,
        head: bytes = b"",
        generation: bytes | None = None,
    ) -> Entry:
        """Return an entry that begins now. The payload is decoded, so the first reader sees what later ones see.

        Args:
            payload: the encoded value.
            fresh: seconds until it is stale.
            whole: seconds until it is gone.
            cost: seconds that the load took.
            tags: its tags.
            now: the instant at which it begins; None for that of the clock.
            head: of the value in Redis, if it was read there.
            generation: in which it was read.
        """
        if now is None:
            now = self._now()
        failure = decode_failure(payload) if payload[:1] == b"\x00" else None
        value = MISSING if failure is not None else self._decode(payload)
        kept = self._copies != "deep" or type(value) in IMMUTABLE
        if kept and type(value) is str and sys.getsizeof(value) > 2 * len(payload) + 1000:
            kept = False  # one emoji makes Python use four bytes for each character of the text
        packed = None
        if self._packs and type(value) in _CONTAINERS:
            packed = pack(value)
        entry = Entry(
            payload if packed is None else packed,
            value if kept else MISSING,
            fresh_until=now + fresh,
            expires_at=now + whole,
            revalidate_at=now + self._max_staleness if self.link is not None else math.inf,
            cost=cost,
            tags=frozenset(tags) if tags else _NO_TAGS,
            failure=failure,
            head=head,
            generation=generation,
        )
        entry.packed = packed is not None
        return entry

    def value(self, entry: Entry) -> Any:
        """Return the value in `entry`, the reader's own unless `copy` says otherwise.

        Args:
            entry: from memory or Redis.
        """
        if entry.value is MISSING:
            return unpack(entry.payload) if entry.packed else self._codec.decode(entry.payload)
        if self._copies == "shallow":
            return copy.copy(entry.value)
        return entry.value

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

    def fetch(self, key: str) -> Awaitable[Entry | None]:
        """Return the entry of Redis; that of memory, if Redis cannot be asked. It is awaited at once.

        Reads of one tick of the loop are sent together, at its end. The first is sent at once, unless the tick before
        had several.

        Args:
            key: the key.
        """
        link = self.link
        if link is None or not link.up:
            return self._local_later(key)
        return self._tick.join(key) or self._fetch_one(key)

    async def _local_later(self, key: str) -> Entry | None:
        return self.local(key)

    async def _fetch_one(self, key: str) -> Entry | None:
        redis = self.redis
        assert redis is not None
        began, session = self._reads.begin(), self.session
        try:
            if len(self.log) or (self.catch_up is not None and self.catch_up.replaying):
                await self._replay()
            return self._received(key, began, session, self._now(), await redis.read(key))
        except (RedisError, PoolExhaustedError):
            return self._kept(key)
        finally:
            self._reads.end()

    async def fetch_many(self, keys: Sequence[str]) -> list[Entry | None]:
        """Return for each key what :meth:`fetch` returns, in one round trip.

        Args:
            keys: the keys.
        """
        redis = self.redis
        if redis is None or not self.linked or not keys:
            return [self.local(key) for key in keys]
        began, session = self._reads.begin(), self.session
        try:
            await self._replay()
            found = await redis.read_many(keys)
            now, received = self._now(), self._received
            return [received(key, began, session, now, each) for key, each in zip(keys, found, strict=True)]
        except (RedisError, PoolExhaustedError):
            return [self._kept(key) for key in keys]
        finally:
            self._reads.end()

    def _kept(self, key: str) -> Entry | None:
        kept = self.memory.get(key)
        return kept if kept is not None and self._now() < kept.expires_at else None

    async def capture(self, key: str, tags: Sequence[str]) -> Snapshot | None:
        """Return the versions before a load; None if Redis cannot be asked.

        Args:
            key: the key to be loaded.
            tags: the tags it will have.
        """
        if self.redis is None or not self.linked:
            return None
        try:
            return await self.redis.capture(key, sorted(set(tags)))  # in the order of the write
        except (RedisError, PoolExhaustedError):
            return None

    def _received(self, key: str, began: int, session: int, now: float, reply: Found) -> Entry | None:
        found, corrupt = reply
        current = self._reads.current(key, began)
        if type(found) is Unchanged:
            return self._unchanged(key, found, session, now, current)
        entry = None
        if found is not None:
            try:
                payload, left, stale, cost, tags, head, generation = cast("StoredValue", found)
                entry = self.entry(
                    payload,
                    left - stale,
                    left,
                    cost=cost,
                    tags=tags,
                    now=now,
                    head=head,
                    generation=generation,
                )
                entry.session = max(session, 0)
                self.stats.redis_hits += 1
            except Exception:  # noqa: BLE001 - whatever a foreign payload makes a codec raise, it is a miss
                corrupt = True
        if corrupt:
            self.stats.corrupt += 1
        if current:
            if entry is None:
                self.memory.remove(key)
            else:
                self.keep(key, entry)
        return entry

    def _unchanged(self, key: str, found: Unchanged, session: int, now: float, current: bool) -> Entry:
        """Return the entry that memory had; in memory it is as good as one that was just read."""
        entry, left = found
        self.stats.redis_hits += 1
        if left >= 0 and (end := now + left / 1000) < entry.expires_at:
            entry.fresh_until -= entry.expires_at - end
            entry.expires_at = end
        if current:
            entry.revalidate_at = now + self._max_staleness
            entry.session = max(session, 0)
            if self.memory.get(key) is entry:
                self.memory.touch(key)
            else:
                self.memory.put(key, entry)
        return entry

    async def _replay(self) -> None:
        if len(self.log) or (self.catch_up is not None and self.catch_up.replaying):
            assert self.catch_up is not None
            await self.catch_up.replay()
