"""Values that are loaded when they are missing: once, refreshed, or many together."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any, Literal, TypeVar, overload

from prodkit.cache.cache_parts import require_key, texts
from prodkit.cache.entry import Entry, Hit, Ttl, lifetime
from prodkit.cache.failures import Negative, restore, verify_negative
from prodkit.cache.flight import Flight
from prodkit.cache.loader import Load, Scope
from prodkit.cache.values import Values
from prodkit.core.validate import Arguments

__all__ = ["Loads"]

T = TypeVar("T")


class Loads(Values):
    """The methods of a cache that load values."""

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
        how = Load(load, ttl, stale, jitter, timeout, texts("tags", tags), negative or {}, when, scope)
        self._verify(how, soft_timeout, hard_timeout, eager)
        entry = self._tiers.local(key)
        if entry is None or not self._loader.usable(entry, how):
            require_key(key)
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
        return Hit(self._tiers.value(entry), stale=late, source=source, error=entry.error if late else None)

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

    def _verify(self, how: Load, soft_timeout: float, hard_timeout: float | None, eager: float) -> None:
        """Refuse wrong arguments before the load, not after it."""
        lifetime(1.0 if callable(how.ttl) else how.ttl, how.stale, how.jitter, self._runtime.rng)
        if (
            soft_timeout
            or eager
            or how.negative
            or how.scope != "process"
            or hard_timeout is not None
            or how.timeout is not None
            or how.when is not None
            or not callable(how.fn)
        ):
            if not callable(how.fn):
                raise _no_function(how.fn)
            check = Arguments("get_or_set")
            check.seconds("timeout", how.timeout, optional=True)
            check.seconds("soft_timeout", soft_timeout, zero=True)
            check.seconds("hard_timeout", hard_timeout, optional=True)
            check.number("eager", eager, minimum=0)
            check.function("when", how.when, optional=True)
            check.one_of("scope", how.scope, ("process", "cluster"))
            check.attempt(lambda: verify_negative(how.negative))
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
        wanted = texts("keys", keys)
        names = texts("tags", tags)
        how = Load(_nothing, ttl, stale, jitter, timeout, names)
        self._verify(how, 0.0, None, 0.0)
        if not callable(load):
            raise _no_function(load)
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
                    loaded = await result if isinstance(result, Awaitable) else result
                    if not isinstance(loaded, Mapping):
                        raise TypeError(
                            f"load must return a mapping of keys to values, got {type(loaded).__name__}"
                        )
                    return loaded

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


def _nothing(*_: object) -> None:
    return None


def _no_function(given: object) -> TypeError:
    if inspect.iscoroutine(given):
        given.close()
    return TypeError(f"load must be a function, got {given!r}: pass the function, not what it returns")
