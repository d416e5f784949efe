"""Cache: get, set, load once, invalidate; in memory, in Redis, and through an outage of Redis."""

from __future__ import annotations

import asyncio
import math
import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any, Literal, TypeVar, cast, overload

from prodkit.cache.codec import Codec, codec_named
from prodkit.cache.counter import Counter
from prodkit.cache.decorator import Cached, CachedDecorator, Store
from prodkit.cache.entry import MISSING, Entry, Hit, Missing, Ttl, lifetime
from prodkit.cache.events import CacheCaughtUp, CacheHit, CacheInvalidated
from prodkit.cache.failures import Negative, restore
from prodkit.cache.flight import Flight, Flights
from prodkit.cache.invalidation_listener import InvalidationListener
from prodkit.cache.loader import Load, Loader, Scope
from prodkit.cache.lock import Lock
from prodkit.cache.memory_tier import MemoryTier
from prodkit.cache.outage_log import OutageLog
from prodkit.cache.patterns import compiled
from prodkit.cache.redis_scripts import WRITE
from prodkit.cache.redis_tier import RedisTier
from prodkit.cache.tiers import Copy, Stats, Tiers
from prodkit.core.check import CheckResult
from prodkit.core.lifespan import Managed
from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.core.validate import Arguments
from prodkit.policies.fast_clock import fast_clock_of
from prodkit.redis.link import RedisLink

__all__ = ["Cache"]

T = TypeVar("T")
D = TypeVar("D")


class Cache(Managed):
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

    # --- one value --------------------------------------------------------------------------------------------------

    async def get(self, key: str, default: D | Missing = MISSING) -> Any | D | Missing:
        """Return the value of `key` while it is fresh, else `default`.

        Args:
            key: the key.
            default: returned for a miss; without one that is :data:`MISSING`.
        """
        entry = self._memory.get(key)
        if entry is None:
            return self._fresh(await self._tiers.fetch(key), self._tier, default)
        now = self._clock()()
        if now >= entry.expires_at:
            self._memory.remove(key)
            return self._fresh(await self._tiers.fetch(key), self._tier, default)
        tiers = self._tiers
        if now >= entry.revalidate_at and entry.session != tiers.session and tiers.linked:
            return self._fresh(await tiers.fetch(key), self._tier, default)
        self._touch(key)
        if (
            now < entry.fresh_until
            and entry.value is not MISSING
            and tiers.shares_values
            and not self._listened(CacheHit)
        ):
            self.stats.memory_hits += 1
            return entry.value
        return self._fresh(entry, "memory", default)

    async def get_many(self, keys: Iterable[str]) -> dict[str, Any]:
        """Return the fresh values of `keys`, in one round trip; keys without one are left out.

        Args:
            keys: the keys.
        """
        wanted = _texts("keys", keys)
        found: dict[str, Any] = {}
        unknown = []
        for key in wanted:
            entry = self._tiers.local(key)
            if entry is None:
                unknown.append(key)
            else:
                found[key] = self._fresh(entry, "memory", MISSING)
        tier = self._tier
        for key, entry in zip(unknown, await self._tiers.fetch_many(unknown), strict=True):
            found[key] = self._fresh(entry, tier, MISSING)
        return {key: found[key] for key in wanted if found[key] is not MISSING}

    def peek(self, key: str) -> Any | Missing:
        """Return the value of `key` if memory can answer at once: fresh, needing neither Redis nor a copy.

        The short way of :meth:`get`, which is the one to use; MISSING only means that it takes longer to know.

        Args:
            key: the key.
        """
        entry = self._lookup(key)
        if entry is None or entry.value is MISSING or self._listened(CacheHit):
            return MISSING
        now = self._clock()()
        if now >= entry.fresh_until:
            return MISSING
        if now >= entry.revalidate_at and entry.session != self._tiers.session and self._tiers.linked:
            return MISSING
        self._touch(key)
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
        """Store `value`; a load in flight does not overwrite it.

        Args:
            key: the key.
            value: anything that the codec takes.
            ttl: seconds, a timedelta, or FOREVER.
            stale: how long after that :meth:`get_or_set` may still serve it while it loads another one.
            tags: names under which it can be invalidated.
            jitter: shortens ttl by up to this fraction, so that values stored together do not expire together.

        Raises:
            TypeError: the codec cannot take the value. Nothing was stored.
            ValueError: a ttl that is 0, negative, or no number.
        """
        await self.set_many({key: value}, ttl=ttl, stale=stale, tags=tags, jitter=jitter)

    async def set_many(
        self,
        values: Mapping[str, Any],
        *,
        ttl: Ttl,
        stale: float | timedelta = 0,
        tags: Iterable[str] = (),
        jitter: float = 0.0,
    ) -> None:
        """Store several values, in one round trip. The arguments mean what they mean for :meth:`set`.

        Args:
            values: values by key. All are encoded before the first is stored.
            ttl: seconds, a timedelta, or FOREVER.
            stale: how long after that they may still be served.
            tags: of every value.
            jitter: shortens each ttl by up to this fraction.

        Raises:
            TypeError: the codec cannot take a value. Nothing was stored.
            ValueError: a ttl that is 0, negative, or no number.
        """
        names = _texts("tags", tags)
        entries: dict[str, tuple[bytes, Entry]] = {}
        for key, value in values.items():
            fresh, whole = lifetime(ttl, stale, jitter, self._runtime.rng)
            payload = self._codec.encode(value)
            entries[key] = (payload, self._tiers.entry(payload, fresh, whole, tags=names))
        for key, (_, entry) in entries.items():
            self._supersede(key)
            entry.own_until = math.inf  # the message about this write may come before its reply
            self._tiers.keep(key, entry)

        async def write(redis: RedisTier) -> None:
            if len(entries) == 1:
                ((key, (payload, entry)),) = entries.items()
                await self._tiers.write(key, payload, entry)
                return
            calls = []
            for key, (payload, entry) in entries.items():
                arguments = self._tiers.write_arguments(entry)
                if arguments is not None:
                    calls.append(redis.write_command(key, payload, **arguments))
            await asyncio.gather(*(WRITE(redis.link, keys=keys, args=args) for keys, args in calls))

        later = True
        try:
            _, later = await self._tiers.apply(write, keys=tuple(entries))
        finally:
            for key, (_, entry) in entries.items():
                self._supersede(key)  # reads that began before Redis had it
                self._tiers.written(entry, later)

    @overload
    async def get_or_set(
        self,
        key: str,
        load: Callable[[], Awaitable[T]],
        *,
        ttl: Ttl | Callable[[Any], Ttl],
        stale: float | timedelta = 0,
        tags: Iterable[str] = (),
        jitter: float = 0.0,
        eager: float = 0.0,
        timeout: float | None = None,
        soft_timeout: float = 0.0,
        hard_timeout: float | None = None,
        negative: Negative | None = None,
        when: Callable[[Any], bool] | None = None,
        scope: Scope = "process",
    ) -> T: ...
    @overload
    async def get_or_set(
        self,
        key: str,
        load: Callable[[], T],
        *,
        ttl: Ttl | Callable[[Any], Ttl],
        stale: float | timedelta = 0,
        tags: Iterable[str] = (),
        jitter: float = 0.0,
        eager: float = 0.0,
        timeout: float | None = None,
        soft_timeout: float = 0.0,
        hard_timeout: float | None = None,
        negative: Negative | None = None,
        when: Callable[[Any], bool] | None = None,
        scope: Scope = "process",
    ) -> T: ...
    async def get_or_set(
        self,
        key: str,
        load: Callable[[], Any],
        *,
        ttl: Ttl | Callable[[Any], Ttl],
        stale: float | timedelta = 0,
        tags: Iterable[str] = (),
        jitter: float = 0.0,
        eager: float = 0.0,
        timeout: float | None = None,
        soft_timeout: float = 0.0,
        hard_timeout: float | None = None,
        negative: Negative | None = None,
        when: Callable[[Any], bool] | None = None,
        scope: Scope = "process",
    ) -> Any:
        """Return the value of `key`, loaded once for all who ask at the same time.

        The load runs in a task of its own: cancelling a caller takes nothing from the others, and when no caller is
        left it is cancelled. A value that was invalidated while it loaded is returned to those who waited and not
        stored.

        For `stale` seconds after `ttl` the old value is served at once while one refresh runs in the background; if it
        fails, the old value stays and the next attempt waits (1 s, 2 s … 60 s).

        Args:
            key: the key.
            load: returns the value, or an awaitable of it.
            ttl: seconds, a timedelta, FOREVER, or a function of the value that returns one.
            stale: seconds after ttl for which the old value is served while it is refreshed.
            tags: names under which it can be invalidated.
            jitter: shortens ttl by up to this fraction.
            eager: try 1.0: refresh before the end already, with a chance that grows towards it and with the cost of
                the load (XFetch). 0 refreshes after ttl.
            timeout: seconds that the load itself may take.
            soft_timeout: seconds to wait for a refresh before the stale value is served.
            hard_timeout: seconds that this caller waits; the load continues and is stored.
            negative: exceptions to cache and for how long, such as ``{NotFound: 5.0}``; they are raised again.
            when: whether a value is cached; all callers receive it either way.
            scope: ``"process"``: one load for each process; ``"cluster"``: one for all that share the Redis, under a
                lease. A process that dies while it loads is replaced within 2 s.

        Raises:
            CallTimeoutError: the load took longer than `timeout`, or this caller waited for `hard_timeout`.
            DeadlineExceededError: the caller's Deadline passed; the load continues for the others.
            RuntimeError: the load waits for itself, directly or through others.
            Exception: any error of `load`; only those in `negative` are cached.
        """
        hit: Hit[Any] = await self.lookup(
            key,
            load,
            ttl=ttl,
            stale=stale,
            tags=tags,
            jitter=jitter,
            eager=eager,
            timeout=timeout,
            soft_timeout=soft_timeout,
            hard_timeout=hard_timeout,
            negative=negative,
            when=when,
            scope=scope,
        )
        return hit.value

    async def lookup(
        self,
        key: str,
        load: Callable[[], Awaitable[T] | T],
        *,
        ttl: Ttl | Callable[[T], Ttl],
        stale: float | timedelta = 0,
        tags: Iterable[str] = (),
        jitter: float = 0.0,
        eager: float = 0.0,
        timeout: float | None = None,
        soft_timeout: float = 0.0,
        hard_timeout: float | None = None,
        negative: Negative | None = None,
        when: Callable[[T], bool] | None = None,
        scope: Scope = "process",
    ) -> Hit[T]:
        """Return what :meth:`get_or_set` returns as a :class:`Hit`, which says whether it is stale and why.

        Args:
            key: the key.
            load: returns the value, or an awaitable of it.
            ttl: seconds, a timedelta, FOREVER, or a function of the value that returns one.
            stale: seconds after ttl for which the old value is served while it is refreshed.
            tags: names under which it can be invalidated.
            jitter: shortens ttl by up to this fraction.
            eager: refresh before the end with this weight.
            timeout: seconds that the load itself may take.
            soft_timeout: seconds to wait for a refresh before the stale value is served.
            hard_timeout: seconds that this caller waits.
            negative: exceptions to cache and for how long.
            when: whether a value is cached.
            scope: one load for the process or for all that share the Redis.
        """
        how = Load(load, ttl, stale, jitter, timeout, _texts("tags", tags), negative or {}, when, scope)
        self._verify(how, soft_timeout, hard_timeout)
        entry = self._tiers.local(key)
        if entry is None or not self._loader.usable(entry, how):
            flight = self._flights.find(key) or self._loader.begin(key, how)
            entry = await self._flights.join(key, flight, hard_timeout)
            source: Literal["memory", "redis", "load"] = (
                "load" if flight.loaded else "redis" if self._tiers.linked else "memory"
            )
        else:
            source = "memory"
            self._count(entry, "memory")
        if entry.failure is not None:
            raise restore(entry.failure, how.negative) or RuntimeError("a cached failure of another caller")
        late = self._now() >= entry.fresh_until and source != "load"
        if not self._loader.is_due(entry, eager):
            return Hit(self._tiers.value(entry), source=source)
        refresh = self._loader.refresh(key, entry, how)
        if late and soft_timeout > 0 and refresh is not None:
            return await self._wait_softly(key, entry, refresh, soft_timeout, source)
        return Hit(self._tiers.value(entry), stale=late, source=source)

    async def _wait_softly(
        self,
        key: str,
        entry: Entry,
        refresh: Flight[Entry],
        soft_timeout: float,
        source: Literal["memory", "redis", "load"],
    ) -> Hit[Any]:
        """Return the refreshed value, or the stale one when it does not come in time or fails."""
        error: BaseException | None = None
        refresh.waiters += 1
        try:
            await asyncio.wait((refresh.task,), timeout=soft_timeout)
        finally:
            refresh.waiters -= 1
        if refresh.task.done() and not refresh.task.cancelled():
            error = refresh.task.exception()
            if error is None:
                return Hit(self._tiers.value(refresh.task.result()), source="load")
        return Hit(self._tiers.value(entry), stale=True, source=source, error=error)

    def _verify(self, how: Load, soft_timeout: float, hard_timeout: float | None) -> None:
        """Refuse wrong arguments before the load, not after it."""
        lifetime(1.0 if callable(how.ttl) else how.ttl, how.stale, how.jitter, self._runtime.rng)
        if soft_timeout or hard_timeout is not None or how.scope != "process":
            check = Arguments("get_or_set")
            check.seconds("soft_timeout", soft_timeout, zero=True)
            check.seconds("hard_timeout", hard_timeout, optional=True)
            check.one_of("scope", how.scope, ("process", "cluster"))
            check.done()

    async def load_many(
        self,
        keys: Iterable[str],
        load: Callable[[list[str]], Awaitable[Mapping[str, T]] | Mapping[str, T]],
        *,
        ttl: Ttl | Callable[[T], Ttl],
        stale: float | timedelta = 0,
        tags: Iterable[str] = (),
        jitter: float = 0.0,
        timeout: float | None = None,
    ) -> dict[str, T]:
        """Return the values of `keys`; those that are missing are loaded together, in one call.

        A key that another caller is loading is awaited and not loaded again.

        Args:
            keys: the keys.
            load: takes the missing keys, returns their values; a key that it leaves out is left out of the result.
            ttl: seconds, a timedelta, FOREVER, or a function of the value that returns one.
            stale: seconds after ttl for which :meth:`get_or_set` may serve the old value.
            tags: of every value.
            jitter: shortens each ttl by up to this fraction.
            timeout: seconds that the load may take.

        Raises:
            Exception: any error of `load`.
        """
        wanted = _texts("keys", keys)
        names = _texts("tags", tags)
        how = Load(_nothing, ttl, stale, jitter, timeout, names)
        self._verify(how, 0.0, None)
        found = await self.get_many(wanted)
        flights = {key: flight for key in wanted if key not in found and (flight := self._flights.find(key))}
        missing = [key for key in wanted if key not in found and key not in flights]
        task: asyncio.Task[Mapping[str, T]] | None = None
        chosen: list[str] = []

        def values() -> asyncio.Task[Mapping[str, T]]:
            nonlocal task
            if task is None:

                async def call() -> Mapping[str, T]:
                    result = load(chosen)
                    return await result if isinstance(result, Awaitable) else result

                task = asyncio.ensure_future(call())
                task.add_done_callback(lambda each: each.cancelled() or each.exception())
            return task

        if missing:
            begun, to_load = await self._loader.load_together(missing, how, values)
            chosen += to_load  # before the first of these tasks runs
            flights |= begun
        results = await asyncio.gather(
            *(self._flights.join(key, flight) for key, flight in flights.items()), return_exceptions=True
        )
        for key, result in zip(flights, results, strict=True):
            if isinstance(result, KeyError) and result.args == (key,):
                continue
            if isinstance(result, BaseException):
                raise result
            found[key] = self._tiers.value(result)
        return {key: found[key] for key in wanted if key in found}

    # --- invalidation -----------------------------------------------------------------------------------------------

    async def delete(self, key: str) -> bool:
        """Remove `key` from memory and Redis; return whether it was there.

        Args:
            key: the key.
        """
        return await self.delete_many(key) > 0

    async def delete_many(self, *keys: str) -> int:
        """Remove `keys` and return how many were there, as far as could be seen.

        Args:
            keys: the keys.
        """
        here = 0
        for key in keys:
            self._supersede(key)
            here += self._memory.remove(key)
        there, later = await self._tiers.apply(
            lambda redis: redis.delete(keys, secrets.token_hex(8)), keys=keys
        )
        for key in keys:
            self._supersede(key)
            self._memory.remove(key)
        self._invalidated("keys", later)
        return max(here, there or 0)

    async def invalidate(self, pattern: str) -> int:
        r"""Remove every key that matches `pattern` and return how many there were.

        Args:
            pattern: ``* ? [a-z] [^x] \x`` as in Redis; :func:`escape` makes text literal.
        """
        matches = compiled(pattern).fullmatch

        def drop() -> int:
            self._supersede_all(lambda key, _: matches(key.encode("utf-8", "surrogatepass")) is not None)
            found = [key for key, _ in self._memory if matches(key.encode("utf-8", "surrogatepass"))]
            return sum(self._memory.remove(key) for key in found)

        here = drop()
        there, later = await self._tiers.apply(
            lambda redis: redis.delete_matching(pattern), patterns=(pattern,)
        )
        here += drop()
        self._invalidated("pattern", later)
        return max(here, there or 0)

    async def invalidate_tags(self, *tags: str) -> None:
        """Make every value with one of `tags` invalid, in one step however many there are.

        Args:
            tags: the tags.
        """
        chosen = frozenset(_texts("tags", tags))
        if not chosen:
            return

        def drop() -> None:
            self._supersede_all(lambda _, flight: not chosen.isdisjoint(flight.tags))
            self._tiers.drop_tags(chosen)

        drop()
        _, later = await self._tiers.apply(lambda redis: redis.move_tags(chosen), tags=tuple(chosen))
        drop()
        self._invalidated("tags", later)

    async def clear(self) -> None:
        """Make everything in the namespace invalid; other namespaces keep their values."""

        def drop() -> None:
            self._supersede_all(lambda *_: True)
            self._memory.clear()

        async def change(redis: RedisTier) -> None:
            await redis.clear()
            await redis.sweep("*")

        drop()
        _, later = await self._tiers.apply(change, everything=True)
        drop()
        self._invalidated("all", later)

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
                arguments say nothing about the result.
        """
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

    def counter(self, name: str, *, ttl: float | timedelta | None = None) -> Counter:
        """Return a :class:`Counter` of this namespace.

        Args:
            name: of the counter.
            ttl: seconds from its first increment until it begins again; None for never.
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

    # --- inside -----------------------------------------------------------------------------------------------------

    @property
    def _tier(self) -> Literal["memory", "redis"]:
        return "redis" if self._tiers.linked else "memory"

    def _fresh(self, entry: Entry | None, tier: Literal["memory", "redis"], default: D) -> Any | D:
        if entry is None or entry.failure is not None or self._clock()() >= entry.fresh_until:
            self._loader.missed()
            return default
        self.stats.memory_hits += tier == "memory"
        if self._listened(CacheHit):
            self._runtime.events.emit(CacheHit(cache=self.namespace, tier=tier, stale=False))
        return self._tiers.value(entry)

    def _count(self, entry: Entry, tier: Literal["memory", "redis"]) -> None:
        stale = self._now() >= entry.fresh_until
        self.stats.stale_hits += stale
        self.stats.memory_hits += tier == "memory"
        if self._listened(CacheHit):
            self._runtime.events.emit(CacheHit(cache=self.namespace, tier=tier, stale=stale))

    def _supersede(self, key: str) -> None:
        self._flights.supersede_key(key)
        self._tiers.supersede(key)

    def _supersede_all(self, which: Callable[[str, Flight[Entry]], bool]) -> None:
        self._flights.supersede(which)
        self._tiers.supersede_all()

    def _invalidated(self, what: Literal["keys", "tags", "pattern", "all"], later: bool) -> None:
        if self._runtime.events.listened(CacheInvalidated):
            self._runtime.events.emit(CacheInvalidated(cache=self.namespace, what=what, logged=later))

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


def _texts(what: str, given: Iterable[str]) -> tuple[str, ...]:
    if isinstance(given, str):
        raise TypeError(f"{what} is a list of names, got the single text {given!r}")
    names = tuple(dict.fromkeys(given))
    if not all(type(each) is str and each for each in names):
        raise TypeError(f"{what} must be texts that are not empty, got {names!r}")
    return names
