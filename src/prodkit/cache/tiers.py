"""The two tiers behind a cache, and the order in which they are written.

Memory is read first and written first. Every change of a key marks the reads of Redis that are in flight: their
replies may be older than the change, so they are returned and not kept.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from prodkit.cache.entry import Entry
from prodkit.cache.redis_tier import RedisTier, Snapshot
from prodkit.cache.tier_reads import Copy as Copy, Stats as Stats, TierReads
from prodkit.errors import PoolExhaustedError, RedisError

__all__ = ["Copy", "Stats", "Tiers"]

T = TypeVar("T")

_OWN: Final = 0.25


class Tiers(TierReads):
    """Memory, Redis, and the outage log between them. The arguments are those of :class:`TierReads`."""

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
        self._begin_session()

    def on_lost(self) -> None:
        """End the tracking session: entries that relied on it are asked about before their next use."""
        if self.session > 0:
            for _, entry in self.memory:
                if entry.session == self.session:
                    entry.distrust()
        self._end_session()

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
