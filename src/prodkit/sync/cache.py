"""The cache for synchronous code."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any, ParamSpec, TypeVar

from prodkit import cache as asynchronous
from prodkit.cache import MISSING, make_cache_key
from prodkit.sync.caller import CallerThread
from prodkit.sync.service import Part, on_caller, on_loop

__all__ = ["Cache"]

P = ParamSpec("P")
T = TypeVar("T")


class Cache(Part):
    """A :class:`prodkit.cache.Cache` for threads; loaders are ordinary functions and run in the caller's thread.

    ::

        answers = sync.Cache(cache.Cache(redis, namespace="shop"))

        @answers.cached(ttl=60)
        def price(product: int) -> float: ...

    Single flight holds over all threads: of 50 threads that miss one key, one runs its loader and 49 wait for it.

    Args:
        cache: the asynchronous cache; start it with :class:`prodkit.sync.running`, by giving that this object.
    """

    def __init__(self, cache: asynchronous.Cache) -> None:
        super().__init__(cache, "get_or_set", "a prodkit.cache.Cache")
        self._cache = cache

    def get(self, key: str, default: Any = MISSING) -> Any:
        """Return the value of `key`, else `default` (``cache.MISSING`` when it is not given)."""
        if default is MISSING:
            return on_loop(self._cache.get, key)
        return on_loop(self._cache.get, key, default)

    def set(
        self,
        key: str,
        value: Any,
        *,
        ttl: float | timedelta,
        stale: float | timedelta = 0,
        tags: Iterable[str] = (),
    ) -> None:
        """Store `value` under `key`.

        Args:
            key: the key.
            value: what the cache's codec can store.
            ttl: seconds for which it is fresh.
            stale: further seconds for which it may be served while it is refreshed.
            tags: names by which it can be invalidated together with others.
        """
        on_loop(self._cache.set, key, value, ttl=ttl, stale=stale, tags=tags)

    def get_or_set(
        self,
        key: str,
        load: Callable[[], T],
        *,
        ttl: float | timedelta,
        stale: float | timedelta = 0,
        tags: Iterable[str] = (),
        timeout: float | None = None,
    ) -> T:
        """Return the value of `key`, loaded by `load` when it is missing.

        Args:
            key: the key.
            load: an ordinary function without arguments; it runs in this thread. A background refresh of a stale
                value runs in a thread of the loop.
            ttl: seconds for which the value is fresh.
            stale: further seconds for which it may be served while it is refreshed.
            tags: names by which it can be invalidated together with others.
            timeout: seconds for which `load` may be waited for; no limit when None.
        """

        async def work(caller: CallerThread) -> T:
            async def loading() -> T:
                return await caller.run(load)

            return await self._cache.get_or_set(
                key, loading, ttl=ttl, stale=stale, tags=tags, timeout=timeout
            )

        return on_caller(self._cache, work)

    def delete(self, key: str) -> bool:
        """Delete `key`; return True when it was there."""
        return on_loop(self._cache.delete, key)

    def invalidate(self, pattern: str) -> int:
        """Delete the keys that match the glob `pattern`; return how many."""
        return on_loop(self._cache.invalidate, pattern)

    def invalidate_tags(self, *tags: str) -> None:
        """Delete the entries that carry any of `tags`."""
        on_loop(self._cache.invalidate_tags, *tags)

    def clear(self) -> None:
        """Delete every entry of the namespace."""
        on_loop(self._cache.clear)

    def cached(
        self,
        *,
        ttl: float | timedelta,
        stale: float | timedelta = 0,
        tags: Iterable[str] = (),
        key: Callable[..., str] | None = None,
    ) -> Callable[[Callable[P, T]], Callable[P, T]]:
        """Cache the results of an ordinary function by its arguments.

        Args:
            ttl: seconds for which a result is fresh.
            stale: further seconds for which it may be served while it is refreshed.
            tags: names by which results can be invalidated together.
            key: makes the key from the arguments; by default the function's name and all arguments.
        """

        def decorate(fn: Callable[P, T]) -> Callable[P, T]:
            name = f"{fn.__module__}.{fn.__qualname__}"

            @functools.wraps(fn)
            def cached(*args: P.args, **kwargs: P.kwargs) -> T:
                chosen = key(*args, **kwargs) if key else make_cache_key(name, *args, **kwargs)
                return self.get_or_set(
                    chosen, functools.partial(fn, *args, **kwargs), ttl=ttl, stale=stale, tags=tags
                )

            return cached

        return decorate

    def __repr__(self) -> str:
        return f"sync.{self._cache!r}"
