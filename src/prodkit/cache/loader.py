"""How a value comes to be: found in Redis, loaded, or refreshed behind the back of a stale one."""

from __future__ import annotations

import asyncio
import inspect
import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from prodkit.cache import events as told
from prodkit.cache.codec import Codec
from prodkit.cache.entry import Entry, Ttl, lifetime
from prodkit.cache.flight import Flight, Flights
from prodkit.cache.redis_tier import Capture
from prodkit.cache.tiers import Tiers
from prodkit.core.runtime import Runtime
from prodkit.errors import CallTimeoutError, PoolExhaustedError, RedisError

__all__ = ["Load", "Loader"]

_FIRST_RETRY: Final = 1.0
_LAST_RETRY: Final = 60.0


@dataclass(frozen=True, slots=True)
class Load:
    """How to make a value, and how long it stays."""

    fn: Callable[[], Any]
    ttl: Ttl
    stale: float | timedelta
    jitter: float
    timeout: float | None
    tags: tuple[str, ...]


class Loader:
    """The loads of one cache."""

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
        """Looks in Redis, and loads what is not there."""
        return self._flights.begin(
            key, lambda flight: self._find_or_load(flight, key, how), tags=frozenset(how.tags)
        )

    def missed(self) -> None:
        self._tiers.stats.misses += 1
        if self._runtime.events.listened(told.CacheMissed):
            self._runtime.events.emit(told.CacheMissed(cache=self._namespace))

    async def _find_or_load(self, flight: Flight[Entry], key: str, how: Load) -> Entry:
        found, capture = await self._tiers.fetch(key, how.tags)
        if found is not None and self._now() < found.hard:
            return found
        self.missed()
        return await self._load(flight, key, how, capture)

    async def _load(self, flight: Flight[Entry], key: str, how: Load, capture: Capture | None) -> Entry:
        started = self._now()
        limit = asyncio.timeout(how.timeout)
        try:
            async with limit:
                value: Any = how.fn()
                if inspect.isawaitable(value):
                    value = await value
        except TimeoutError:
            if not limit.expired():
                raise
            message = f"loading a value for cache {self._namespace!r} took more than {how.timeout} s"
            raise CallTimeoutError(message, timeout=how.timeout) from None
        cost = self._now() - started
        self._tiers.stats.loads += 1
        fresh, whole = lifetime(how.ttl, how.stale, how.jitter, self._runtime.rng)
        entry = self._tiers.entry(self._codec.encode(value), fresh, whole, cost=cost, tags=how.tags)
        stored = await self._store(flight, key, entry, capture)
        self._tiers.stats.overtaken += not stored
        if self._runtime.events.listened(told.CacheLoaded):
            self._runtime.events.emit(told.CacheLoaded(cache=self._namespace, seconds=cost, stored=stored))
        return entry

    async def _store(self, flight: Flight[Entry], key: str, entry: Entry, capture: Capture | None) -> bool:
        """Keeps what was loaded, unless something was invalidated since the load began, here or elsewhere."""
        if flight.overtaken:
            return False
        tiers = self._tiers
        if capture is not None and tiers.linked:
            with suppress(RedisError, PoolExhaustedError):  # else kept here, like what may have changed
                if not await tiers.write(key, entry, capture):
                    return False
                tiers.overtake(key)
                tiers.written(entry)
        elif tiers.link is not None:
            entry.trusted = 0.0  # good while Redis is away; nobody knows what others did meanwhile
        stored = not self._overtaken(flight)
        if stored:
            tiers.memory.put(key, entry)
        return stored

    @staticmethod
    def _overtaken(flight: Flight[Entry]) -> bool:
        return flight.overtaken  # asked again after a wait

    def is_due(self, entry: Entry, eager: float) -> bool:
        """Whether to refresh now: the value is stale, or about to be (XFetch: Vattani and others, VLDB
        2015).
        """
        now = self._now()
        if now >= entry.soft:
            return True
        return eager > 0 and now - entry.cost * eager * math.log(1 - self._runtime.rng.random()) >= entry.soft

    def refresh(self, key: str, entry: Entry, how: Load) -> None:
        """Loads anew in the background, unless that is under way or failed a moment ago."""
        if self._now() < entry.retry_at or self._flights.find(key) is not None:
            return

        async def work(flight: Flight[Entry]) -> Entry:
            try:
                found, capture = await self._tiers.fetch(key, how.tags)
                if found is not None and found.soft > max(self._now(), entry.soft):
                    return found  # another process was quicker
                return await self._load(flight, key, how, capture)
            except Exception as error:
                wait = min(_LAST_RETRY, _FIRST_RETRY * 2**entry.retries)
                wait *= 1 - 0.2 * self._runtime.rng.random()
                self._tiers.stats.refresh_failures += 1
                for each in {entry, self._tiers.memory.get(key) or entry}:
                    each.retries, each.retry_at = entry.retries + 1, self._now() + wait
                if self._runtime.events.listened(told.CacheRefreshFailed):
                    failed = told.CacheRefreshFailed(
                        cache=self._namespace, error=type(error).__name__, retry_in=wait
                    )
                    self._runtime.events.emit(failed)
                raise

        self._flights.begin(key, work, tags=frozenset(how.tags), keep=True)
