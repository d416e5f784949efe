"""Values by key: read and stored, in both tiers."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any, TypeVar

from prodkit.cache.cache_parts import CacheParts, require_key, texts
from prodkit.cache.entry import MISSING, Entry, Missing, Ttl, lifetime
from prodkit.cache.events import CacheHit
from prodkit.cache.redis_scripts import WRITE
from prodkit.cache.redis_tier import RedisTier

__all__ = ["Values"]

D = TypeVar("D")


class Values(CacheParts):
    """The methods of a cache that read and store values."""

    async def get(self, key: str, default: D | Missing = MISSING) -> Any | D | Missing:
        """Return the value of `key` while it is fresh, else `default`.

        Args:
            key: the key.
            default: returned for a miss; without one that is :data:`MISSING`.
        """
        entry = self._memory.get(key)
        tiers = self._tiers
        if entry is None:
            require_key(key)
            return self._fresh(await tiers.fetch(key), self._tier, default)
        now = self._clock()()
        if now >= entry.expires_at:
            self._memory.remove(key)
            return self._fresh(await tiers.fetch(key), self._tier, default)
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
        wanted = texts("keys", keys)
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
        names = texts("tags", tags)
        if not isinstance(values, Mapping):
            raise TypeError(f"set_many takes a mapping of keys to values, got {type(values).__name__}")
        for key in values:
            require_key(key)
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
