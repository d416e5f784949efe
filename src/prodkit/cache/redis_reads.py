"""The reads of the Redis tier: one MGET for one key, one script for the keys of a tick, one MGET for all their tags.

A value that memory holds already is recognised by its head, which is new with every write: it is neither taken apart
nor decoded again.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Sequence
from typing import Any, Final, cast

from prodkit.cache.entry import Entry
from prodkit.cache.redis_scripts import READ_MANY
from prodkit.cache.stored_value import Found, Tagged, ValueReader
from prodkit.redis.link import RedisLink

__all__ = ["BATCH", "Part", "RedisReads"]

BATCH: Final = 500
_PARTS: Final = 16


class Part:
    """The names of one part of the namespace."""

    __slots__ = ("barrier", "fences", "generation", "guards", "leases", "prefix", "tags", "values")

    def __init__(self, prefix: str) -> None:
        self.prefix: str = prefix
        self.values: str = f"{prefix}:v:"
        self.fences: str = f"{prefix}:f:"
        self.tags: str = f"{prefix}:t:"
        self.generation: str = f"{prefix}:g"
        self.barrier: str = f"{prefix}:b"
        self.guards: str = f"{prefix}:p"
        self.leases: str = f"~{prefix}:l:"


class RedisReads:
    """The reads of one namespace. Every method raises what :meth:`RedisLink.execute` raises.

    Args:
        link: the link to Redis.
        namespace: the prefix of every key.
        codec: the name of the codec; a value of another one is unreadable.
        known: returns the entry that memory has of a key, which saves decoding a value that has not changed.
    """

    def __init__(
        self, link: RedisLink, namespace: str, codec: str, known: Callable[[str], Entry | None]
    ) -> None:
        self.link: RedisLink = link
        self._codec = codec.encode()
        self._known = known
        self._parts = (
            [Part(f"{{{namespace}:{number:02}}}") for number in range(_PARTS)]
            if link.cluster
            else [Part(namespace)]
        )
        self._reader = ValueReader(self._codec)

    def _part(self, key: str) -> Part:
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
        judged = self._reader.judge(key, found[0], left, found[1], found[2], self._known(key))
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
        groups: dict[Part, Sequence[int]] = {}
        if len(self._parts) == 1:
            groups[self._parts[0]] = range(len(keys))
        else:
            for at, key in enumerate(keys):
                cast("list[int]", groups.setdefault(self._part(key), [])).append(at)
        chunks = [
            (part, places[start : start + BATCH])
            for part, places in groups.items()
            for start in range(0, len(places), BATCH)
        ]

        async def ask(part: Part, places: Sequence[int]) -> list[Any]:
            prefix = part.values
            names = [prefix + keys[at] for at in places]
            reply: list[Any] = await READ_MANY(self.link, keys=[part.generation, part.guards, *names])
            return reply

        replies = (
            [await ask(*chunks[0])]
            if len(chunks) == 1
            else await asyncio.gather(*(ask(part, places) for part, places in chunks))
        )
        judge, known = self._reader.judge, self._known
        tagged = False
        found: list[Any] = [None] * len(keys)
        for (_, places), reply in zip(chunks, replies, strict=True):
            generation, guards = reply[0], reply[1]
            for at, value, left in zip(places, reply[2::2], reply[3::2], strict=True):
                key = keys[at]
                found[at] = judged = judge(key, value, left, generation, guards, known(key))
                if type(judged) is Tagged:
                    tagged = True
        if tagged:
            return await self._resolved(found, [self._part(key) for key in keys])
        return found

    async def _resolved(self, found: Sequence[Found | Tagged], parts: Sequence[Part]) -> list[Found]:
        """Compare the versions of tags with those of now, one MGET for each part."""
        wanted: dict[Part, dict[str, None]] = {}
        for each, part in zip(found, parts, strict=True):
            if isinstance(each, Tagged):
                wanted.setdefault(part, {}).update(dict.fromkeys(each.value.tags))

        async def versions(part: Part, tags: list[str]) -> dict[tuple[Part, str], str | None]:
            names = [part.tags + tag for tag in tags]
            now: list[bytes | None] = await self.link.execute("MGET", *names, key=names[0])
            return {
                (part, tag): None if each is None else each.decode(errors="replace")
                for tag, each in zip(tags, now, strict=True)
            }

        current: dict[tuple[Part, str], str | None] = {}
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
