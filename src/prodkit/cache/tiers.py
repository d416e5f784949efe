"""The two tiers behind a cache, and the order in which they are read and written.

Memory is read first and written first. Every change of a key marks the reads of Redis that are in flight: their
replies may be older than the change, so they are returned and not kept.
"""

from __future__ import annotations

import asyncio
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
from prodkit.cache.reads import Reads
from prodkit.cache.redis_tier import RedisTier, Snapshot
from prodkit.cache.stored_value import StoredValue
from prodkit.core.clock import Clock
from prodkit.core.deadline import Deadline
from prodkit.errors import DeadlineExceededError, PoolExhaustedError, RedisError
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
        self.shares_values: bool = copies != "shallow"  # a value may be returned to every reader as it is
        self._max_staleness = max_staleness
        self.redis: RedisTier | None = (
            None if self.link is None else RedisTier(self.link, namespace, codec.name)
        )
        self.catch_up: CatchUp | None = (
            None if self.link is None or self.redis is None else CatchUp(self.link, self.redis, log, clock)
        )
        self._reads = Reads()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._busy = False
        self._waiting: list[tuple[str, asyncio.Future[Entry | None]]] = []
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
        self,
        payload: bytes,
        fresh: float,
        whole: float,
        *,
        cost: float = 0.0,
        tags: Sequence[str] = (),
        now: float | None = None,
    ) -> Entry:
        """Return an entry that begins now. The payload is decoded, so the first reader sees what later ones see.

        Args:
            payload: the encoded value.
            fresh: seconds until it is stale.
            whole: seconds until it is gone.
            cost: seconds that the load took.
            tags: its tags.
            now: the instant at which it begins; None for that of the clock.
        """
        if now is None:
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

        The first read of a tick is sent at once; those that follow in the same tick are sent together.

        Args:
            key: the key.
        """
        if self.redis is None or not self.linked:
            return self._local_later(key)
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop, self._busy, self._waiting = loop, False, []
        if not self._busy:
            self._busy = True
            loop.call_soon(self._idle)
            return self._fetch_one(key)
        future: asyncio.Future[Entry | None] = loop.create_future()
        if not self._waiting:
            loop.call_soon(self._flush)
        self._waiting.append((key, future))
        return future if Deadline.instant() == math.inf else _until_deadline(future)

    def _idle(self) -> None:
        self._busy = False

    async def _local_later(self, key: str) -> Entry | None:
        return self.local(key)

    async def _fetch_one(self, key: str) -> Entry | None:
        redis = self.redis
        assert redis is not None
        began, session = self._reads.begin(), self.session
        try:
            if len(self.log) or (self.catch_up is not None and self.catch_up.replaying):
                await self._replay()
            found, corrupt = await redis.read(key)
            return self._received(key, began, session, self._now(), found, corrupt)
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
            return [received(key, began, session, now, *each) for key, each in zip(keys, found, strict=True)]
        except (RedisError, PoolExhaustedError):
            return [self._kept(key) for key in keys]
        finally:
            self._reads.end()

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        with Deadline.detached():
            task = asyncio.ensure_future(self._answer(waiting))
        task.add_done_callback(_consumed)

    async def _answer(self, waiting: list[tuple[str, asyncio.Future[Entry | None]]]) -> None:
        """Read for all that wait. One that was cancelled does not look at its future."""
        try:
            entries = await self.fetch_many([key for key, _ in waiting])
        except BaseException as error:
            for _, future in waiting:
                if not future.done():
                    future.set_exception(error)
                    future.exception()
            raise
        for (_, future), entry in zip(waiting, entries, strict=True):
            if not future.done():
                future.set_result(entry)

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
            return await self.redis.capture(key, tags)
        except (RedisError, PoolExhaustedError):
            return None

    def _received(
        self, key: str, began: int, session: int, now: float, found: StoredValue | None, corrupt: bool
    ) -> Entry | None:
        entry = None
        if found is not None:
            try:
                payload, left, stale, cost, tags = found
                entry = self.entry(payload, left - stale, left, cost=cost, tags=tags, now=now)
                entry.session = max(session, 0)
                self.stats.redis_hits += 1
            except Exception:  # noqa: BLE001 - whatever a foreign payload makes a codec raise, it is a miss
                corrupt = True
        if corrupt:
            self.stats.corrupt += 1
        if self._reads.current(key, began):
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
        self._reads.change(key)

    def supersede_all(self) -> None:
        """Keep all reads that are in flight out of memory."""
        self._reads.change_all()

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
        await self.redis.prepare()

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


async def _until_deadline(future: asyncio.Future[Entry | None]) -> Entry | None:
    limit = Deadline.sooner(None)
    await asyncio.wait((future,), timeout=limit)
    if not future.done():
        future.cancel()
        raise DeadlineExceededError("the deadline passed while waiting for Redis", timeout=limit)
    return future.result()


def _consumed(task: asyncio.Task[None]) -> None:
    """Take note of the error: every reader has received it."""
    if not task.cancelled():
        task.exception()
