"""Make a value: find it in Redis, load it in one process or one of all, refresh it behind a stale one."""

from __future__ import annotations

import asyncio
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, Literal, TypeAlias

from prodkit.cache.codec import Codec
from prodkit.cache.entry import Entry, Ttl, lifetime
from prodkit.cache.events import CacheLoaded, CacheMissed, CacheRefreshFailed
from prodkit.cache.failures import Negative, encode_failure, negative_ttl, restore
from prodkit.cache.flight import Flight, Flights
from prodkit.cache.lease import Lease
from prodkit.cache.redis_tier import Snapshot
from prodkit.cache.tiers import Tiers
from prodkit.core.runtime import Runtime
from prodkit.errors import CallTimeoutError, PoolExhaustedError, RedisError

__all__ = ["Load", "Loader", "Scope"]

Scope: TypeAlias = Literal["process", "cluster"]

_FIRST_RETRY: Final = 1.0
_LAST_RETRY: Final = 60.0
_FIRST_LOOK: Final = 0.02
_LAST_LOOK: Final = 0.2


@dataclass(frozen=True, slots=True)
class Load:
    """The making of a value, and how long it stays.

    Args:
        fn: returns the value or an awaitable of it.
        ttl: seconds, or a function of the value.
        stale: seconds for which it is served after that.
        jitter: shortens ttl by up to this fraction.
        timeout: seconds that the load may take.
        tags: of the value.
        negative: exceptions that are cached, and for how long.
        when: whether a value is cached.
        scope: one load for this process or for all.
    """

    fn: Callable[[], Any]
    ttl: Ttl | Callable[[Any], Ttl]
    stale: float | timedelta = 0
    jitter: float = 0.0
    timeout: float | None = None
    tags: tuple[str, ...] = ()
    negative: Negative = field(default_factory=dict)
    when: Callable[[Any], bool] | None = None
    scope: Scope = "process"


class Loader:
    """The loads of one cache.

    Args:
        tiers: memory and Redis.
        flights: the loads in flight.
        codec: values to bytes.
        namespace: for events.
        runtime: clock, randomness and events.
    """

    def __init__(
        self, tiers: Tiers, flights: Flights[Entry], codec: Codec, namespace: str, runtime: Runtime
    ) -> None:
        self._tiers = tiers
        self._flights = flights
        self._codec = codec
        self._namespace = namespace
        self._runtime = runtime
        self._now = runtime.clock.monotonic

    def begin(self, key: str, how: Load) -> Flight[Entry]:
        """Look in Redis, and load a value that is not there.

        Args:
            key: the key.
            how: the load.
        """
        return self._flights.begin(
            key, lambda flight: self._find_or_load(flight, key, how), tags=frozenset(how.tags)
        )

    def missed(self) -> None:
        """Count a miss."""
        self._tiers.stats.misses += 1
        if self._runtime.events.listened(CacheMissed):
            self._runtime.events.emit(CacheMissed(cache=self._namespace))

    def usable(self, entry: Entry | None, how: Load) -> bool:
        """Return whether `entry` answers this load: a value that is not gone, or a failure that the caller knows.

        Args:
            entry: from memory or Redis.
            how: the load.
        """
        if entry is None or self._now() >= entry.expires_at:
            return False
        return entry.failure is None or restore(entry.failure, how.negative) is not None

    async def _find_or_load(self, flight: Flight[Entry], key: str, how: Load) -> Entry:
        found = await self._tiers.fetch(key)
        if found is not None and self.usable(found, how):
            return found
        self.missed()
        if how.scope == "cluster" and self._tiers.linked:
            return await self._load_leased(flight, key, how)
        return await self._load(flight, key, how, await self._tiers.capture(key, how.tags))

    async def load_together(
        self, keys: Sequence[str], how: Load, values: Callable[[], asyncio.Task[Mapping[str, Any]]]
    ) -> tuple[dict[str, Flight[Entry]], list[str]]:
        """Begin one flight for each key, all of which wait for one load; return them and the keys to load.

        Args:
            keys: keys that are in neither tier.
            how: ttl, tags and the like.
            values: starts or returns the one load.
        """
        snapshots = await asyncio.gather(*(self._tiers.capture(key, how.tags) for key in keys))
        flights: dict[str, Flight[Entry]] = {}
        chosen: list[str] = []
        for key, snapshot in zip(keys, snapshots, strict=True):
            known = self._flights.find(key)  # another caller may have begun while versions were read
            if known is not None:
                flights[key] = known
                continue
            self.missed()

            async def pick(key: str = key) -> Any:
                return (await asyncio.shield(values()))[key]

            one = Load(pick, how.ttl, how.stale, how.jitter, how.timeout, how.tags)

            def work(
                flight: Flight[Entry], key: str = key, one: Load = one, snapshot: Snapshot | None = snapshot
            ) -> Any:
                return self._load(flight, key, one, snapshot)

            chosen.append(key)
            flights[key] = self._flights.begin(key, work, tags=frozenset(how.tags))
        return flights, chosen

    async def _load_leased(self, flight: Flight[Entry], key: str, how: Load) -> Entry:
        """Load under a lease, or wait for the process that has it."""
        redis, link = self._tiers.redis, self._tiers.link
        assert redis is not None
        assert link is not None
        look = _FIRST_LOOK
        while True:
            lease = Lease(link, redis.lease_name(key), self._runtime.clock)
            try:
                mine = await lease.acquire()
            except (RedisError, PoolExhaustedError):  # without Redis each process loads for itself
                return await self._load(flight, key, how, None)
            if mine:
                try:
                    found = await self._tiers.fetch(key)  # stored between our look and our lease
                    if found is not None and self.usable(found, how):
                        return found
                    snapshot = await self._tiers.capture(key, how.tags)
                    return await self._load(flight, key, how, snapshot, lease.token)
                finally:
                    await asyncio.shield(asyncio.ensure_future(lease.release()))
            await self._runtime.clock.sleep(look * (1 - 0.3 * self._runtime.rng.random()))
            look = min(_LAST_LOOK, 2 * look)
            found = await self._tiers.fetch(key)
            if found is not None and self.usable(found, how):
                return found

    async def _load(
        self, flight: Flight[Entry], key: str, how: Load, snapshot: Snapshot | None, lease: str = ""
    ) -> Entry:
        flight.loaded = True
        started = self._now()
        limit = asyncio.timeout(how.timeout)
        try:
            async with limit:
                value: Any = how.fn()
                if inspect.isawaitable(value):
                    value = await value
        except TimeoutError as error:
            if not limit.expired():
                await self._store_failure(flight, key, how, snapshot, error, lease)
                raise
            message = f"loading a value for cache {self._namespace!r} took more than {how.timeout} s"
            raise CallTimeoutError(message, timeout=how.timeout) from None
        except Exception as error:
            await self._store_failure(flight, key, how, snapshot, error, lease)
            raise
        cost = self._now() - started
        self._tiers.stats.loads += 1
        ttl = how.ttl(value) if callable(how.ttl) else how.ttl
        fresh, whole = lifetime(ttl, how.stale, how.jitter, self._runtime.rng)
        payload = self._codec.encode(value)
        entry = self._tiers.entry(payload, fresh, whole, cost=cost, tags=how.tags)
        stored = False
        if how.when is None or how.when(value):
            stored = await self._store(flight, key, payload, entry, snapshot, lease)
            self._tiers.stats.superseded += not stored
        if self._runtime.events.listened(CacheLoaded):
            self._runtime.events.emit(CacheLoaded(cache=self._namespace, seconds=cost, stored=stored))
        return entry

    async def _store_failure(
        self,
        flight: Flight[Entry],
        key: str,
        how: Load,
        snapshot: Snapshot | None,
        error: Exception,
        lease: str,
    ) -> None:
        ttl = negative_ttl(error, how.negative)
        payload = None if ttl is None else encode_failure(error)
        if ttl is None or payload is None:
            return
        fresh, whole = lifetime(ttl, 0, how.jitter, self._runtime.rng)
        await self._store(
            flight, key, payload, self._tiers.entry(payload, fresh, whole, tags=how.tags), snapshot, lease
        )

    async def _store(
        self,
        flight: Flight[Entry],
        key: str,
        payload: bytes,
        entry: Entry,
        snapshot: Snapshot | None,
        lease: str,
    ) -> bool:
        """Keep a loaded value, unless something was invalidated since the load began, here or elsewhere."""
        if flight.superseded:
            return False
        tiers = self._tiers
        if snapshot is not None and tiers.linked:
            with suppress(
                RedisError, PoolExhaustedError
            ):  # else kept here, like everything that may have changed
                if not await tiers.write(key, payload, entry, snapshot, lease):
                    return False
                tiers.supersede(key)
                tiers.written(entry)
        elif tiers.link is not None:
            entry.distrust()  # good while Redis is away; changes by other processes are unknown
        stored = not self._superseded(flight)
        if stored:
            tiers.keep(key, entry)
        return stored

    @staticmethod
    def _superseded(flight: Flight[Entry]) -> bool:
        return flight.superseded  # asked again after a wait

    def is_due(self, entry: Entry, eager: float) -> bool:
        """Return whether to refresh now: the value is stale, or about to be.

        XFetch (Vattani and others, VLDB 2015): each reader refreshes with a chance that grows towards the end and with
        the cost of the load: now + cost · eager · Exp(1) ≥ fresh_until. With a cost of 2 s and eager 1, a reader 2 s
        before the end refreshes with a chance of 37 %, one 10 s before it with 0.7 %.

        Args:
            entry: the entry that is served.
            eager: 0 for no eager refresh; 1 is the paper's β.
        """
        now = self._now()
        if now >= entry.fresh_until:
            return True
        return (
            eager > 0
            and now - entry.cost * eager * math.log(1 - self._runtime.rng.random()) >= entry.fresh_until
        )

    def refresh(self, key: str, entry: Entry, how: Load) -> Flight[Entry] | None:
        """Load again in the background; None when that failed a moment ago.

        Args:
            key: the key.
            entry: the entry that is served.
            how: the load.
        """
        if self._now() < entry.retry_at:
            return None
        known = self._flights.find(key)
        if known is not None:
            return known

        async def work(flight: Flight[Entry]) -> Entry:
            try:
                found = await self._tiers.fetch(key)
                if found is not None and found.fresh_until > max(self._now(), entry.fresh_until):
                    return found  # another process was quicker
                if how.scope == "cluster" and self._tiers.linked:
                    return await self._refresh_leased(flight, key, how, found or entry)
                return await self._load(flight, key, how, await self._tiers.capture(key, how.tags))
            except Exception as error:
                self._failed(key, entry, error)
                raise

        return self._flights.begin(key, work, tags=frozenset(how.tags), keep=True)

    async def _refresh_leased(self, flight: Flight[Entry], key: str, how: Load, served: Entry) -> Entry:
        """Refresh, unless another process does: then the stale value is good enough."""
        redis, link = self._tiers.redis, self._tiers.link
        assert redis is not None
        assert link is not None
        lease = Lease(link, redis.lease_name(key), self._runtime.clock)
        with suppress(RedisError, PoolExhaustedError):
            if not await lease.acquire():
                return served
        try:
            return await self._load(flight, key, how, await self._tiers.capture(key, how.tags), lease.token)
        finally:
            await asyncio.shield(asyncio.ensure_future(lease.release()))

    def _failed(self, key: str, entry: Entry, error: Exception) -> None:
        wait = min(_LAST_RETRY, _FIRST_RETRY * 2**entry.retries)
        wait *= 1 - 0.2 * self._runtime.rng.random()
        self._tiers.stats.refresh_failures += 1
        for each in {entry, self._tiers.memory.get(key) or entry}:
            each.retries, each.retry_at, each.error = entry.retries + 1, self._now() + wait, error
        if self._runtime.events.listened(CacheRefreshFailed):
            self._runtime.events.emit(
                CacheRefreshFailed(cache=self._namespace, error=type(error).__name__, retry_in=wait)
            )
