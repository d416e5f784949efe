"""Cache: get, set, load once, invalidate; in memory, in Redis, and through an outage of Redis."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any, Literal, cast

from prodkit.cache.codec import Codec, codec_named
from prodkit.cache.counter import Counter
from prodkit.cache.decorator import Cached, CachedDecorator, Store
from prodkit.cache.entry import Entry, Ttl
from prodkit.cache.events import CacheCaughtUp
from prodkit.cache.failures import Negative
from prodkit.cache.flight import Flights
from prodkit.cache.invalidation import Invalidation
from prodkit.cache.invalidation_listener import InvalidationListener
from prodkit.cache.loader import Load, Loader, Scope
from prodkit.cache.loads import Loads
from prodkit.cache.lock import Lock
from prodkit.cache.memory_tier import MemoryTier
from prodkit.cache.outage_log import OutageLog
from prodkit.cache.tiers import Copy, Stats, Tiers
from prodkit.core.check import CheckResult
from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.core.validate import Arguments
from prodkit.policies.fast_clock import fast_clock_of
from prodkit.redis.link import RedisLink

__all__ = ["Cache"]


class Cache(Loads, Invalidation):
    """Values by key, for a time.

    ::

        answers = Cache(redis, namespace="council", runtime=rt)
        answer = await answers.get_or_set(make_cache_key("council", question), load, ttl=3600, tags=["u:7"])
        await answers.invalidate_tags("u:7")

    Values live in this process (L1) and, with a Redis, for all processes (L2). A read returns the value that was
    stored, a copy for each reader; None is a value like others. Without Redis, and while it is away, the cache works
    in memory. Invalidations and writes during an outage are logged and replayed before Redis is read again: an outage
    never brings an old value back.

    Args:
        redis: the link, or None for a cache of this process alone.
        namespace: a plain word; caches of one namespace share their values.
        runtime: clock, randomness and events; the default is the system's.
        coherence: hear from Redis about changes by other processes, once the cache is started: one connection more,
            on a cluster one to each primary.
        max_staleness: seconds for which memory may serve a value that another process has changed, where changes are
            not heard: without `coherence`, before :meth:`start`. 0 asks Redis every time.
        l1_entries: the most entries in memory.
        l1_bytes: the most bytes in memory, decoded values included.
        codec: ``"json"``, ``"msgpack"`` or a :class:`Codec` of your own.
        copy: ``"deep"`` gives every reader a copy; ``"shallow"`` copies only the outermost container; ``"never"``
            hands all readers the same object, decoded once: fastest for large documents, which must not be changed.
        outage_log: invalidations kept during an outage; beyond that, the whole namespace is invalidated afterwards.
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
        codec: Literal["json", "msgpack"] | Codec = "json",
        copy: Copy = "deep",
        outage_log: int = 10_000,
    ) -> None:
        check = Arguments("Cache")
        check.instance("redis", redis, RedisLink, "a RedisLink", optional=True)
        check.seconds("max_staleness", max_staleness, zero=True)
        check.integer("l1_entries", l1_entries, minimum=1)
        check.integer("l1_bytes", l1_bytes, minimum=1)
        check.integer("outage_log", outage_log, minimum=0)
        check.one_of("copy", copy, ("never", "shallow", "deep"))
        if not _is_plain(namespace):
            check.value("namespace must be a plain word without : * ? [ ] \\ { } ~", namespace)
        check.done()
        self.namespace: str = namespace
        self.name: str = f"cache.{namespace}"
        self._runtime = runtime
        self._now = runtime.clock.monotonic
        self._clock = fast_clock_of(runtime.clock)
        self._listened = runtime.events.listened
        self._codec: Codec = codec_named(codec) if isinstance(codec, str) else codec
        self._memory = MemoryTier(l1_entries, l1_bytes)
        self._lookup: Callable[[str], Entry | None] = self._memory.get
        self._touch = self._memory.touch
        self._log = OutageLog(outage_log)
        self._flights: Flights[Entry] = Flights()
        self._tiers = Tiers(
            redis, namespace, runtime.clock, self._codec, self._memory, self._log, max_staleness, copy
        )
        if copy == "shallow":
            self._lookup = _nothing  # every read makes a copy
        self.stats: Stats = self._tiers.stats
        self._loader = Loader(self._tiers, self._flights, self._codec, namespace, runtime)
        self._remove_callback: Callable[[], None] | None = None
        self._use_link()
        self._listener: InvalidationListener | None = None
        link = self._tiers.link
        if coherence and link is not None:
            self._listener = InvalidationListener(link, namespace, runtime.clock, self._tiers)

    # --- the decorator, locks and counters --------------------------------------------------------------------------

    def cached(
        self,
        *,
        ttl: Ttl | Callable[[Any], Ttl],
        stale: float | timedelta = 0,
        tags: Iterable[str] | Callable[..., Iterable[str]] = (),
        jitter: float = 0.0,
        eager: float = 0.0,
        timeout: float | None = None,
        soft_timeout: float = 0.0,
        hard_timeout: float | None = None,
        negative: Negative | None = None,
        when: Callable[[Any], bool] | None = None,
        scope: Scope = "process",
        key: Callable[..., str] | str | None = None,
    ) -> CachedDecorator:
        """Cache the results of a function by its arguments.

        ::

            @answers.cached(ttl=3600, tags=lambda question, user: [f"u:{user}"])
            async def answer(question: str, user: int) -> str: ...

            await answer.invalidate("why?", user=7)

        A plain function runs in a thread; the decorated one is always awaited. The key is made of the function's name
        and its arguments, defaults applied (:func:`make_cache_key`).

        Args:
            ttl: seconds, a timedelta, FOREVER, or a function of the result that returns one.
            stale: seconds after ttl for which the old result is served while it is refreshed.
            tags: names for invalidation, or a function of the arguments that returns them.
            jitter: shortens ttl by up to this fraction.
            eager: try 1.0: refresh before the end already.
            timeout: seconds that the function may take.
            soft_timeout: seconds to wait for a refresh before the stale result is served.
            hard_timeout: seconds that a caller waits.
            negative: exceptions to cache and for how long.
            when: whether a result is cached.
            scope: ``"process"`` or ``"cluster"``: one call for each process, or for all that share the Redis.
            key: a template such as ``"profile:{user}"``, or a function of the arguments; needed for methods, and where
                arguments say nothing about the result. Texts stand in a template as they are: where one may hold the
                separator, use a function with :func:`make_cache_key`.
        """
        how = Load(_nothing, ttl, stale, jitter, timeout, (), negative or {}, when, scope)
        self._verify(how, soft_timeout, hard_timeout, eager)  # now, not at the first call
        options = {
            "ttl": ttl,
            "stale": stale,
            "jitter": jitter,
            "eager": eager,
            "timeout": timeout,
            "soft_timeout": soft_timeout,
            "hard_timeout": hard_timeout,
            "negative": negative,
            "when": when,
            "scope": scope,
        }

        def decorate(fn: Callable[..., Any]) -> Cached[..., Any]:
            return Cached(cast("Store", self), fn, key, tags, options)

        return cast("CachedDecorator", decorate)

    def lock(self, name: str, *, lease: float = 10.0, wait: float | None = None) -> Lock:
        """Return a :class:`Lock` of this namespace.

        Args:
            name: of the lock.
            lease: seconds after which the lock of a dead process is free.
            wait: seconds to wait for it; None waits for the Deadline.
        """
        return Lock(
            self._tiers.link, name, namespace=self.namespace, lease=lease, wait=wait, runtime=self._runtime
        )

    def counter(self, name: str, *, ttl: Ttl | None = None) -> Counter:
        """Return a :class:`Counter` of this namespace.

        Args:
            name: of the counter.
            ttl: seconds from its first increment until it begins again; None or FOREVER for never.
        """
        return Counter(self._tiers.link, name, namespace=self.namespace, ttl=ttl, runtime=self._runtime)

    # --- lifespan ---------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin to hear about changes by other processes. Without it, `max_staleness` alone holds."""
        self._use_link()
        if self._listener is not None:
            self._listener.start()

    async def aclose(self) -> None:
        """Cancel the loads in flight. Invalidations that could not be sent by now are lost with the process."""
        await self._flights.aclose()
        if self._listener is not None:
            await self._listener.aclose()
        if self._tiers.catch_up is not None:
            await self._tiers.catch_up.aclose()
        if self._remove_callback is not None:
            self._remove_callback()
            self._remove_callback = None

    async def check(self) -> CheckResult:
        """Report degraded while Redis is configured and away."""
        catch_up = self._tiers.catch_up
        sweeping = 0 if catch_up is None else catch_up.sweeping
        details: dict[str, object] = {
            "entries": len(self._memory),
            "bytes": self._memory.bytes,
            "loading": len(self._flights),
            "outage_log": len(self._log),
            "sweeping": sweeping,
            "evictions": self._memory.evictions,
            "coherent": self._tiers.coherent,
        }
        if self._tiers.link is None:
            return CheckResult("up", "in the memory of this process only", details)
        if not self._tiers.linked:
            return CheckResult("degraded", "Redis is away: working in memory", details)
        return CheckResult("up", f"catching up: {sweeping} patterns to sweep" if sweeping else "", details)

    def _use_link(self) -> None:
        tiers = self._tiers
        if tiers.link is not None and tiers.catch_up is not None and self._remove_callback is None:
            self._remove_callback = tiers.link.on_up(tiers.recover)
            tiers.catch_up.on_done = self._caught_up

    def _caught_up(self, patterns: int, seconds: float) -> None:
        if patterns and self._runtime.events.listened(CacheCaughtUp):
            self._runtime.events.emit(CacheCaughtUp(cache=self.namespace, patterns=patterns, seconds=seconds))

    def __repr__(self) -> str:
        where = "memory" if self._tiers.link is None else self._tiers.link.address
        return (
            f"Cache({self.namespace!r}, {where!r}, entries={len(self._memory)}, bytes={self._memory.bytes})"
        )


def _nothing(*_: object) -> None:
    return None


def _is_plain(namespace: object) -> bool:
    return (
        isinstance(namespace, str)
        and bool(namespace)
        and namespace.isprintable()
        and not set(namespace) & set(": *?[]\\{}~")
    )
