"""Invalidation: by key, tag and pattern, or everything, in both tiers and through outages."""

from __future__ import annotations

import secrets

from prodkit.cache.cache_parts import CacheParts, require_key, texts
from prodkit.cache.patterns import compiled
from prodkit.cache.redis_tier import RedisTier

__all__ = ["Invalidation"]


class Invalidation(CacheParts):
    """The methods of a cache that invalidate."""

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
        for key in keys:
            require_key(key)
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
        if not isinstance(pattern, str):
            raise TypeError(f"a pattern is a text, got {pattern!r}")
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
        chosen = frozenset(texts("tags", tags))
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
