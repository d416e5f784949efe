"""Cache: get, set, load once, invalidate; in memory, in Redis, and through the loss of Redis."""

from __future__ import annotations

import math
import secrets
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from datetime import timedelta
from typing import Any, Literal, ParamSpec, TypeVar

from prodkit.cache import events as told
from prodkit.cache.codec import Codec, JsonCodec
from prodkit.cache.decorator import Cached
from prodkit.cache.entry import MISSING, Entry, Missing, Ttl, lifetime
from prodkit.cache.flight import Flight, Flights
from prodkit.cache.invalidation_listener import Coherence
from prodkit.cache.loader import Load, Loader
from prodkit.cache.memory_tier import MemoryTier
from prodkit.cache.outage_log import Journal
from prodkit.cache.patterns import compiled
from prodkit.cache.tiers import Tiers
from prodkit.core.check import CheckResult
from prodkit.core.lifespan import Managed
from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.redis.link import RedisLink

__all__ = ["Cache"]

P = ParamSpec("P")
T = TypeVar("T")
D = TypeVar("D")


class Cache(Managed):
    """Values by key, for a time.

    ::

        answers = Cache(redis, namespace="council", runtime=rt)
        answer = await answers.get_or_set(make_cache_key("council", question), load, ttl=3600, tags=["u:7"])
        await answers.invalidate_tags("u:7")

    Values live in this process (L1) and, with a Redis, for all processes (L2). What comes back is what was
    stored, a copy for each reader; None is a value like others. Without Redis, and while it is away, the
    cache works in memory. What is deleted, invalidated or set meanwhile is written down, and Redis is told
    before it is read again: an outage never brings an old value back.

    Args:
        redis: the link, or None for a cache of this process alone.
        namespace: a plain word; caches of one namespace share their values.
        coherence: hear from Redis what other processes change (one connection more), once the cache is
            started.
        max_staleness: seconds for which memory may serve what another process has changed, where that is
            not heard: without `coherence`, before :meth:`start`, while that connection is lost. 0 then asks
            Redis every time.
        l1_entries, l1_bytes: bounds of the memory tier.
        codec: ``"json"`` or a :class:`Codec` of your own.
        journal: invalidations kept during an outage; past that, the whole namespace is invalidated
            afterwards.
    """

    def __init__(
        self,
        redis: RedisLink | None = None,
        *,
        namespace: str,
        runtime: Runtime = SYSTEM,
        coherence: bool = True,
        max_staleness: float = 1.0,
        l1_entries: int = 10_000,
        l1_bytes: int = 64 * 2**20,
        codec: Literal["json"] | Codec = "json",
        journal: int = 10_000,
    ) -> None:
        problems = [
            f"{what} must be at least {least}, got {value!r}"
            for what, value, least in (
                ("l1_entries", l1_entries, 1),
                ("l1_bytes", l1_bytes, 1),
                ("journal", journal, 0),
                ("max_staleness", max_staleness, 0),
            )
            if not value >= least
        ]
        if not namespace or not namespace.isprintable() or set(namespace) & set(": *?[]\\{}"):
            problems.append(f"namespace must be a plain word without : * ? [ ] \\ {{ }}, got {namespace!r}")
        if problems:
            raise ValueError("; ".join(problems))
        self.namespace = namespace
        self.name = f"cache.{namespace}"
        self._runtime = runtime
        self._now = runtime.clock.monotonic
        self._codec: Codec = JsonCodec() if codec == "json" else codec
        self._memory = MemoryTier(l1_entries, l1_bytes)
        self._lookup = self._memory.get
        self._journal = Journal(journal)
        self._flights: Flights[Entry] = Flights()
        self._tiers = Tiers(
            redis, namespace, runtime.clock, self._codec, self._memory, self._journal, max_staleness
        )
        self.stats = self._tiers.stats
        self._loader = Loader(self._tiers, self._flights, self._codec, namespace, runtime)
        self._off: Callable[[], None] | None = None
        self._listen()
        self._coherence: Coherence | None = None
        if coherence and self._tiers.link is not None:
            self._coherence = Coherence(self._tiers.link, namespace, runtime.clock, self._tiers)

    # -- one value
    # ----------------------------------------------------------------------------------------------
    async def get(self, key: str, default: D | Missing = MISSING) -> Any | D | Missing:
        """The value of `key` while it is fresh, else `default`."""
        value = self.peek(key)
        if value is not MISSING:
            return value
        entry = self._tiers.at_hand(key)
        tier: Literal["memory", "redis"] = "memory"
        if entry is None:
            entry, _ = await self._tiers.fetch(key)
            tier = "redis" if self._tiers.linked else "memory"
        if entry is None or self._now() >= entry.soft:
            self._loader.missed()
            return default
        return self._hit(entry, tier)

    def peek(self, key: str) -> Any | Missing:
        """The value of `key` if memory can answer at once: fresh, needing neither Redis nor a copy.

        The short way of :meth:`get`, which is what to use; MISSING only means that it takes longer to know.
        """
        entry = self._lookup(key)
        if entry is None or entry.value is MISSING or self._runtime.events.listened(told.CacheHit):
            return MISSING
        now = self._now()
        if now >= entry.soft:
            return MISSING
        if now >= entry.trusted and entry.era != self._tiers.era and self._tiers.linked:
            return MISSING
        self._memory.touch(key)
        self.stats.memory_hits += 1
        return entry.value

    async def set(
        self,
        key: str,
        value: Any,
        *,
        ttl: Ttl,
        stale: float | timedelta = 0,
        tags: Iterable[str] = (),
        jitter: float = 0.0,
    ) -> None:
        """Stores `value` for `ttl` seconds (a timedelta, or FOREVER); a load under way does not overwrite it.

        `stale` is how long after that :meth:`get_or_set` may still serve it while it loads a new one.
        `jitter` shortens ttl by up to that fraction, so that what was stored together does not expire
        together.

        Raises:
            TypeError: the codec cannot take the value. Nothing was stored.
            ValueError: a ttl that is 0, negative, or no number.
        """
        fresh, whole = lifetime(ttl, stale, jitter, self._runtime.rng)
        entry = self._tiers.entry(self._codec.encode(value), fresh, whole, tags=_names(tags))
        self._overtake(key)
        entry.ours_until = math.inf  # the news of this writing may come before its answer
        self._memory.put(key, entry)
        later = True
        try:
            _, later = await self._tiers.tell(lambda _: self._tiers.write(key, entry), keys=(key,))
        finally:
            self._overtake(key)  # reads that began before Redis knew
            self._tiers.written(entry, later)

    async def get_or_set(
        self,
        key: str,
        load: Callable[[], Awaitable[T] | T],
        *,
        ttl: Ttl,
        stale: float | timedelta = 0,
        tags: Iterable[str] = (),
        jitter: float = 0.0,
        eager: float = 0.0,
        timeout: float | None = None,
    ) -> T:
        """The value of `key`, loaded once for all who ask at the same time.

        The load runs in a task of its own: cancelling a caller takes nothing from the others, and when no
        caller is left it is cancelled. What was invalidated while it loaded is returned to those who waited
        and not stored.

        For `stale` seconds after `ttl` the old value is served at once while one refresh runs in the
        background; should it fail, the old value stays and the next attempt waits (1 s, 2 s … 60 s).
        `eager` (try 1.0) refreshes before the end already, with a chance that grows towards it and with the
        cost of the load (XFetch). `timeout` limits the load itself; each caller besides waits no longer
        than its Deadline.

        Raises:
            CallTimeoutError: the load took longer than `timeout`.
            DeadlineExceededError: the caller's Deadline passed; the load goes on for the others.
            RuntimeError: the load asks for its own key.
            Exception: whatever `load` raises; it is not cached.
        """
        how = Load(load, ttl, stale, jitter, timeout, _names(tags))
        lifetime(ttl, stale, jitter, self._runtime.rng)  # what is wrong is told before the load, not after
        entry = self._tiers.at_hand(key)
        if entry is None:
            flight = self._flights.find(key) or self._loader.begin(key, how)
            entry = await self._flights.join(key, flight)
            result = self._tiers.value(entry)
        else:
            result = self._hit(entry, "memory")
        if self._loader.is_due(entry, eager):
            self._loader.refresh(key, entry, how)
        return result  # type: ignore[no-any-return]

    # -- invalidation
    # -------------------------------------------------------------------------------------------
    async def delete(self, key: str) -> bool:
        """Removes `key` from memory and Redis. Tells whether it was there."""
        return await self.delete_many(key) > 0

    async def delete_many(self, *keys: str) -> int:
        """Removes `keys` and returns how many were there, as far as could be seen."""
        here = 0
        for key in keys:
            self._overtake(key)
            here += self._memory.remove(key)
        there, later = await self._tiers.tell(
            lambda shared: shared.delete(keys, secrets.token_hex(8)), keys=keys
        )
        for key in keys:
            self._overtake(key)
            self._memory.remove(key)
        self._invalidated("keys", later)
        return max(here, there or 0)

    async def invalidate(self, pattern: str) -> int:
        """Removes every key that matches `pattern` (``* ? [a-z] [^x] \\x``) and returns how many there
        were.
        """
        matches = compiled(pattern).fullmatch

        def drop() -> int:
            self._overtake_all(lambda key, _: matches(key.encode("utf-8", "surrogatepass")) is not None)
            found = [key for key, _ in self._memory if matches(key.encode("utf-8", "surrogatepass"))]
            return sum(self._memory.remove(key) for key in found)

        here = drop()
        there, later = await self._tiers.tell(lambda shared: shared.delete_matching(pattern), pattern=pattern)
        here += drop()
        self._invalidated("pattern", later)
        return max(here, there or 0)

    async def invalidate_tags(self, *tags: str) -> None:
        """Makes everything stored under any of `tags` invalid, in one step however much it is."""
        chosen = frozenset(_names(tags))
        if not chosen:
            return

        def drop() -> None:
            self._overtake_all(lambda _, flight: not chosen.isdisjoint(flight.tags))
            self._tiers.drop_tags(chosen)

        drop()
        _, later = await self._tiers.tell(lambda shared: shared.move_tags(chosen), tags=tuple(chosen))
        drop()
        self._invalidated("tags", later)

    async def clear(self) -> None:
        """Makes everything in the namespace invalid; other namespaces keep theirs."""

        def drop() -> None:
            self._overtake_all(lambda *_: True)
            self._memory.clear()

        drop()
        _, later = await self._tiers.tell(lambda shared: shared.clear(), everything=True)
        drop()
        self._invalidated("all", later)

    # -- the decorator
    # ------------------------------------------------------------------------------------------
    def cached(
        self,
        *,
        ttl: Ttl,
        stale: float | timedelta = 0,
        tags: Iterable[str] | Callable[P, Iterable[str]] = (),
        jitter: float = 0.0,
        eager: float = 0.0,
        timeout: float | None = None,
        key: Callable[P, str] | None = None,
    ) -> Callable[[Callable[P, Coroutine[Any, Any, T]]], Cached[P, T]]:
        """Caches the results of an async function by its arguments.

        ::

            @answers.cached(ttl=3600, tags=lambda question, user: [f"u:{user}"])
            async def answer(question: str, user: int) -> str: ...

            await answer.invalidate("why?", user=7)

        The key is made of the function's name and its arguments, defaults applied (:func:`make_cache_key`);
        give `key` for methods and for arguments that say nothing about the result.
        """
        options = {"ttl": ttl, "stale": stale, "jitter": jitter, "eager": eager, "timeout": timeout}

        def decorate(fn: Callable[P, Coroutine[Any, Any, T]]) -> Cached[P, T]:
            return Cached(self, fn, key, tags, options)

        return decorate

    # -- lifespan
    # -----------------------------------------------------------------------------------------------
    async def start(self) -> None:
        """Begins to hear what other processes change. Without it, `max_staleness` alone holds."""
        self._listen()
        if self._coherence is not None:
            self._coherence.start()

    async def aclose(self) -> None:
        """Cancels the loads under way. What Redis could not be told by now is lost with the process."""
        await self._flights.aclose()
        if self._coherence is not None:
            await self._coherence.aclose()
        if self._off is not None:
            self._off()
            self._off = None

    async def check(self) -> CheckResult:
        """Degraded while Redis is configured and away."""
        details: dict[str, object] = {
            "entries": len(self._memory),
            "bytes": self._memory.bytes,
            "loading": len(self._flights),
            "journal": len(self._journal),
            "evictions": self._memory.evictions,
            "coherent": self._tiers.coherent,
        }
        if self._tiers.link is None:
            return CheckResult("up", "in the memory of this process only", details)
        if not self._tiers.linked:
            return CheckResult("degraded", "Redis is away: working in memory", details)
        return CheckResult("up", "", details)

    # -- small things --
    def _hit(self, entry: Entry, tier: Literal["memory", "redis"]) -> Any:
        stale = self._now() >= entry.soft
        self.stats.stale_hits += stale
        self.stats.memory_hits += tier == "memory"
        if self._runtime.events.listened(told.CacheHit):
            self._runtime.events.emit(told.CacheHit(cache=self.namespace, tier=tier, stale=stale))
        return self._tiers.value(entry)

    def _overtake(self, key: str) -> None:
        self._flights.overtake_key(key)
        self._tiers.overtake(key)

    def _overtake_all(self, which: Callable[[str, Flight[Entry]], bool]) -> None:
        self._flights.overtake(which)
        self._tiers.overtake_all()

    def _invalidated(self, what: Literal["keys", "tags", "pattern", "all"], later: bool) -> None:
        if self._runtime.events.listened(told.CacheInvalidated):
            self._runtime.events.emit(told.CacheInvalidated(cache=self.namespace, what=what, journaled=later))

    def _listen(self) -> None:
        if self._tiers.link is not None and self._off is None:
            self._off = self._tiers.link.on_up(self._tiers.recover)

    def __repr__(self) -> str:
        where = "memory" if self._tiers.link is None else self._tiers.link.address
        return (
            f"Cache({self.namespace!r}, {where!r}, entries={len(self._memory)}, bytes={self._memory.bytes})"
        )


def _names(tags: Iterable[str]) -> tuple[str, ...]:
    if isinstance(tags, str):
        raise TypeError(f"tags is a list of names, got the single text {tags!r}")
    names = tuple(dict.fromkeys(tags))
    if not all(type(each) is str and each for each in names):
        raise TypeError(f"tags must be texts that are not empty, got {names!r}")
    return names
