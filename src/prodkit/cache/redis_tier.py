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
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from prodkit.cache.patterns import Patterns
from prodkit.cache.redis_scripts import CAPTURE, DELETE, GUARD, MOVE, READ_MANY, RELEASE_GUARD, WRITE
from prodkit.cache.stored_value import Found, Tagged, ValueReader
from prodkit.redis.link import RedisLink

__all__ = ["RedisTier", "Snapshot"]

_BARRIER: Final = 600_000  # milliseconds: the longest load that a delete in another process is sure to stop
_GUARD_LIFE: Final = 600_000
_PARTS: Final = 16
_BATCH: Final = 500


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The versions before a load began: write id, generation, barrier, key barrier, versions of the tags."""

    versions: tuple[bytes, ...]


class _Part:
    """The names of one part of the namespace."""

    __slots__ = ("barrier", "fences", "generation", "guards", "leases", "prefix", "tags", "values")

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.values = f"{prefix}:v:"
        self.fences = f"{prefix}:f:"
        self.tags = f"{prefix}:t:"
        self.generation = f"{prefix}:g"
        self.barrier = f"{prefix}:b"
        self.guards = f"{prefix}:p"
        self.leases = f"~{prefix}:l:"


class RedisTier:
    """The commands of one namespace. Every method raises what :meth:`RedisLink.execute` raises.

    Args:
        link: the link to Redis.
        namespace: the prefix of every key.
        codec: the name of the codec; a value of another one is unreadable.
    """

    def __init__(self, link: RedisLink, namespace: str, codec: str) -> None:
        self.link: RedisLink = link
        self._codec = codec.encode()
        self._parts = (
            [_Part(f"{{{namespace}:{number:02}}}") for number in range(_PARTS)]
            if link.cluster
            else [_Part(namespace)]
        )
        self._reader = ValueReader(self._codec)

    def _part(self, key: str) -> _Part:
        parts = self._parts
        return (
            parts[0]
            if len(parts) == 1
            else parts[zlib.crc32(key.encode("utf-8", "surrogatepass")) % len(parts)]
        )

    # --- reading ----------------------------------------------------------------------------------------------------

    async def read(self, key: str) -> Found:
        """Return the value of `key`, and whether something unreadable lies there.

        Args:
            key: the key.
        """
        part = self._part(key)
        name = part.values + key
        found, left = await self.link.execute_many(
            (("MGET", name, part.generation, part.guards), ("PTTL", name)), key=name
        )
        if isinstance(found, Exception):
            raise found
        judged = self._reader.judge(key, found[0], left, found[1], found[2])
        return (
            (await self._resolved([judged], (part,)))[0] if type(judged) is Tagged else cast("Found", judged)
        )

    async def read_many(self, keys: Sequence[str]) -> list[Found]:
        """Return for each key what :meth:`read` returns: one script for each part, and one MGET where there are tags.

        Args:
            keys: the keys.
        """
        if len(keys) == 1:
            return [await self.read(keys[0])]
        groups: dict[_Part, list[int]] = {}
        for at, key in enumerate(keys):
            groups.setdefault(self._part(key), []).append(at)
        chunks = [
            (part, places[start : start + _BATCH])
            for part, places in groups.items()
            for start in range(0, len(places), _BATCH)
        ]

        async def ask(part: _Part, places: list[int]) -> list[Any]:
            names = [part.values + keys[at] for at in places]
            reply: list[Any] = await READ_MANY(self.link, keys=[part.generation, part.guards, *names])
            return reply

        replies = (
            [await ask(*chunks[0])]
            if len(chunks) == 1
            else await asyncio.gather(*(ask(part, places) for part, places in chunks))
        )
        judge = self._reader.judge
        found: list[Any] = [None] * len(keys)
        for (_, places), reply in zip(chunks, replies, strict=True):
            generation, guards = reply[0], reply[1]
            for at, value, left in zip(places, reply[2::2], reply[3::2], strict=True):
                found[at] = judge(keys[at], value, left, generation, guards)
        if any(type(each) is Tagged for each in found):
            return await self._resolved(found, [self._part(key) for key in keys])
        return found

    async def _resolved(self, found: Sequence[Found | Tagged], parts: Sequence[_Part]) -> list[Found]:
        """Compare the versions of tags with those of now, one MGET for each part."""
        wanted: dict[_Part, dict[str, None]] = {}
        for each, part in zip(found, parts, strict=True):
            if isinstance(each, Tagged):
                wanted.setdefault(part, {}).update(dict.fromkeys(each.value.tags))

        async def versions(part: _Part, tags: list[str]) -> dict[tuple[_Part, str], str | None]:
            names = [part.tags + tag for tag in tags]
            now: list[bytes | None] = await self.link.execute("MGET", *names, key=names[0])
            return {
                (part, tag): None if each is None else each.decode()
                for tag, each in zip(tags, now, strict=True)
            }

        current: dict[tuple[_Part, str], str | None] = {}
        for some in await asyncio.gather(*(versions(part, list(tags)) for part, tags in wanted.items())):
            current |= some
        resolved: list[Found] = []
        for each, part in zip(found, parts, strict=True):
            if not isinstance(each, Tagged):
                resolved.append(each)
                continue
            now = tuple(current[part, tag] for tag in each.value.tags)
            resolved.append((each.value if now == each.versions else None, False))
        return resolved

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
        groups: dict[_Part, list[str]] = {}
        for key in keys:
            part = self._part(key)
            groups.setdefault(part, []).extend((part.values + key, part.fences + key))
        gone = 0
        for names in groups.values():
            for start in range(0, len(names), 2 * _BATCH):
                gone += int(
                    await DELETE(self.link, keys=names[start : start + 2 * _BATCH], args=[token, _BARRIER])
                )
        return gone

    async def move_tags(self, tags: Iterable[str]) -> None:
        """Make every value with one of `tags` invalid.

        Args:
            tags: the tags.
        """
        names = list(tags)
        for part in self._parts:
            for start in range(0, len(names), _BATCH):
                await MOVE(self.link, keys=[part.tags + tag for tag in names[start : start + _BATCH]])

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
            now: bytes | None = await self.link.execute("GET", part.barrier, key=part.barrier)
            found[part.prefix] = (now or b"0").decode()
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
