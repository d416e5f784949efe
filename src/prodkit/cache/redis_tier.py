"""L2: entries in Redis, and the versions that say whether they still hold.

A value is stored together with versions. Redis keeps the current ones beside it:

    version       key in Redis       moves with             compared when
    generation    NS:g               clear()                a value is read: another one, and it is gone
    tag version   NS:t:TAG           invalidate_tags()      a value with that tag is read
    barrier       NS:b               invalidate(pattern)    a loaded value is stored: the load began before
    key barrier   NS:f:KEY           delete(), 10 minutes   a loaded value is stored
    write id      in NS:v:KEY        every write            a loaded value is stored

    load begins ── snapshot of all five ── … ── store, only if the snapshot still holds

A version that is gone (expired, evicted) equals none, so its loss costs a miss and never brings an old value back.

NS is the namespace; on a cluster the keys of a namespace are spread over 16 parts ``{namespace:part}``, each with
versions of its own in one slot, and an invalidation of tags, patterns or everything goes to all parts.

A read is a plain MGET of the value, the generation and the guard, with the PTTL; the versions of its tags are compared
afterwards, which is sound: a version never comes back, so one that is equal later was equal then.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from prodkit.cache.patterns import Patterns
from prodkit.cache.redis_reads import BATCH, Part, RedisReads
from prodkit.cache.redis_scripts import CAPTURE, DELETE, GUARD, MOVE, RELEASE_GUARD, WRITE

__all__ = ["RedisTier", "Snapshot"]

_BARRIER: Final = 600_000  # milliseconds: the longest load that a delete in another process is sure to stop
_GUARD_LIFE: Final = 600_000


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The versions before a load began: write id, generation, barrier, key barrier, versions of the tags."""

    versions: tuple[bytes, ...]


class RedisTier(RedisReads):
    """The commands of one namespace. Every method raises what :meth:`RedisLink.execute` raises.

    The arguments are those of :class:`RedisReads`.
    """

    # --- writing ----------------------------------------------------------------------------------------------------

    async def capture(self, key: str, tags: Sequence[str]) -> Snapshot:
        """Return the versions of now, for a load that begins.

        Args:
            key: the key to be loaded.
            tags: the tags it will have.
        """
        part = self._part(key)
        names = [part.values + key, part.generation, part.barrier, part.fences + key]
        reply: list[bytes] = await CAPTURE(self.link, keys=[*names, *(part.tags + tag for tag in tags)])
        return Snapshot(tuple(reply))

    def write_command(
        self,
        key: str,
        payload: bytes,
        *,
        life: float,
        stale: float,
        cost: float,
        tags: Sequence[str],
        write_id: str,
        snapshot: Snapshot | None = None,
        lease: str = "",
    ) -> tuple[list[str], list[Any]]:
        """Return KEYS and ARGV of :data:`~prodkit.cache.redis_scripts.WRITE`.

        Args:
            key: the key.
            payload: the encoded value.
            life: seconds until it is gone.
            stale: how many of them it is served stale.
            cost: seconds that the load took.
            tags: its tags.
            write_id: random, new for each write.
            snapshot: store only if all versions are still these.
            lease: store only if the lease on `key` has this token.
        """
        part = self._part(key)
        span = 0 if stale == math.inf else int(stale * 1000)
        millis = 0 if life == math.inf else max(1, int(life * 1000))
        body = b"%b;%d;%d;%d;%b" % (self._codec, millis, span, int(cost * 1_000_000), payload)
        names = [
            part.values + key,
            part.generation,
            part.barrier,
            part.fences + key,
            part.leases + key,
            *(part.tags + tag for tag in tags),
        ]
        args: list[Any] = [millis, body, write_id, lease, *tags]
        if snapshot is not None:
            args += snapshot.versions
        return names, args

    async def write(self, key: str, payload: bytes, **how: Any) -> bool:
        """Store a value; return False when the snapshot or the lease no longer holds.

        Args:
            key: the key.
            payload: the encoded value.
            how: the further arguments of :meth:`write_command`.
        """
        names, args = self.write_command(key, payload, **how)
        return bool(await WRITE(self.link, keys=names, args=args))

    async def delete(self, keys: Sequence[str], token: str) -> int:
        """Remove `keys` and stop the loads of them; return how many were there.

        Args:
            keys: the keys.
            token: new for each call.
        """
        groups: dict[Part, list[str]] = {}
        for key in keys:
            part = self._part(key)
            groups.setdefault(part, []).extend((part.values + key, part.fences + key))
        gone = 0
        for names in groups.values():
            for start in range(0, len(names), 2 * BATCH):
                gone += int(
                    await DELETE(self.link, keys=names[start : start + 2 * BATCH], args=[token, _BARRIER])
                )
        return gone

    async def move_tags(self, tags: Iterable[str]) -> None:
        """Make every value with one of `tags` invalid.

        Args:
            tags: the tags.
        """
        names = list(tags)
        for part in self._parts:
            for start in range(0, len(names), BATCH):
                await MOVE(self.link, keys=[part.tags + tag for tag in names[start : start + BATCH]])

    async def delete_matching(self, pattern: str) -> int:
        """Remove the keys that match in one pass of SCAN; return how many.

        A load in flight is not stored; a value that is set during the pass may stay.

        Args:
            pattern: see :mod:`prodkit.cache.patterns`.
        """
        for part in self._parts:
            await MOVE(self.link, keys=[part.barrier])
        return await self.sweep(pattern)

    async def clear(self) -> None:
        """Make everything in the namespace invalid, at once. :meth:`sweep` then frees the memory."""
        for part in self._parts:
            await MOVE(self.link, keys=[part.generation, part.barrier])

    async def prepare(self) -> None:
        """Make the generation and the barrier of every part that has none yet."""
        for part in self._parts:
            await CAPTURE(
                self.link, keys=[part.values, part.generation, part.barrier, part.fences]
            )  # of the key "", which is no one's

    async def barriers(self) -> dict[str, str]:
        """Return the barriers of now, by the prefix of the part."""
        found: dict[str, str] = {}
        for part in self._parts:
            now: list[bytes | None] = await self.link.execute("MGET", part.barrier, key=part.barrier)
            found[part.prefix] = now[0].decode() if now[0] is not None and now[0].isdigit() else "0"
        return found

    async def sweep(
        self, pattern: str, matches: Patterns | None = None, *, barriers: dict[str, str] | None = None
    ) -> int:
        """Remove keys in one pass of SCAN over every node; return how many.

        Args:
            pattern: the keys that SCAN returns.
            matches: of those, the keys to remove; None for all.
            barriers: remove only values from before these barriers, by the prefix of the part.
        """
        gone = 0
        for part in self._parts:
            async for names in self.link.scan(part.values + pattern, key=part.generation):
                if matches is not None:
                    start = len(part.values.encode())
                    names = [name for name in names if matches.match_bytes(name[start:])]
                if names and barriers is not None:
                    names = await self._before(names, barriers[part.prefix])
                if names:
                    gone += int(await self.link.execute("UNLINK", *names, key=names[0]))
                await asyncio.sleep(0)  # requests come first
        return gone

    async def _before(self, names: list[bytes], barrier: str) -> list[bytes]:
        """Return those of `names` whose value was written before `barrier`."""
        heads = await self.link.execute_many([("GETRANGE", name, 0, 127) for name in names], key=names[0])
        old = []
        for name, head in zip(names, heads, strict=True):
            # pk2….["write id","generation","barrier",…
            texts = head.split(b'"', 6) if isinstance(head, bytes) else []
            if len(texts) < 7 or not texts[5].isdigit() or int(texts[5]) < int(barrier):
                old.append(name)
        return old

    # --- the patterns of an outage ----------------------------------------------------------------------------------

    async def guard(self, token: str, patterns: Sequence[str]) -> dict[str, str]:
        """Make values that match `patterns` invalid for all processes, at once; return the barriers by part.

        Args:
            token: names this guard.
            patterns: the patterns of the outage.
        """
        text = json.dumps(list(patterns))
        found = {}
        for part in self._parts:
            barrier = await GUARD(
                self.link, keys=[part.guards, part.barrier], args=[token, text, _GUARD_LIFE]
            )
            found[part.prefix] = barrier.decode()
        return found

    async def release_guard(self, token: str) -> None:
        """Remove a guard, when its keys are gone.

        Args:
            token: the guard's.
        """
        for part in self._parts:
            await RELEASE_GUARD(self.link, keys=[part.guards], args=[token])

    def lease_name(self, key: str) -> str:
        """Return the name of the lease on the load of `key`, in the slot of its value.

        Args:
            key: the key.
        """
        return self._part(key).leases + key
