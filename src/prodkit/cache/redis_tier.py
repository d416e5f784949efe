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
afterwards, which is sound: a version never comes back, so one that is equal later was equal then. Reads of one tick
are one script.
"""

from __future__ import annotations

import asyncio
import json
import math
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, cast

from prodkit.cache.codec import fastest_loads
from prodkit.cache.patterns import Patterns
from prodkit.cache.redis_scripts import CAPTURE, DELETE, GUARD, MOVE, READ_MANY, RELEASE_GUARD, WRITE
from prodkit.core.deadline import Deadline
from prodkit.redis.link import RedisLink

__all__ = ["Guard", "RedisTier", "Snapshot", "StoredValue"]

_BARRIER: Final = 600_000  # milliseconds: the longest load that a delete in another process is sure to stop
_GUARD_LIFE: Final = 600_000
_PARTS: Final = 16
_BATCH: Final = 500
_HEAD: Final = b"pk2"
_loads: Final = fastest_loads()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The versions before a load began: write id, generation, barrier, key barrier, versions of the tags."""

    versions: tuple[bytes, ...]


class StoredValue(NamedTuple):
    """A value that holds. `left` is its remaining life in seconds, ``math.inf`` for one without end."""

    payload: bytes
    left: float
    stale: float
    cost: float
    tags: tuple[str, ...]


class Guard(NamedTuple):
    """Patterns of an outage that are still being removed: values from before `barrier` that match are gone."""

    token: str
    barrier: str
    patterns: Patterns


class _Raw(NamedTuple):
    """The reply for one key: value, milliseconds left, generation and guards of its part."""

    value: bytes | None
    left: int
    generation: bytes | None
    guards: bytes | None


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
        self._busy = False
        self._waiting: list[tuple[str, asyncio.Future[_Raw]]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._guards: tuple[bytes, tuple[Guard, ...]] = (b"", ())

    def _part(self, key: str) -> _Part:
        parts = self._parts
        return (
            parts[0]
            if len(parts) == 1
            else parts[zlib.crc32(key.encode("utf-8", "surrogatepass")) % len(parts)]
        )

    # --- reading ----------------------------------------------------------------------------------------------------

    async def read(self, key: str) -> tuple[StoredValue | None, bool]:
        """Return the value of `key`, and whether something unreadable lies there.

        Args:
            key: the key.
        """
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop, self._busy, self._waiting = loop, False, []
        if self._busy:
            future: asyncio.Future[_Raw] = loop.create_future()
            if not self._waiting:
                loop.call_soon(self._flush)
            self._waiting.append((key, future))
            raw = await future
        else:
            self._busy = True  # until the end of this tick: others of the tick are read together
            loop.call_soon(self._idle)
            raw = await self._read_one(key)
        first, second = self._judge(key, raw)
        if isinstance(first, list):
            return await self._with_tags(key, first, cast("bytes", second), raw.left)
        return first, cast("bool", second)

    async def read_many(self, keys: Sequence[str]) -> list[tuple[StoredValue | None, bool]]:
        """Return for each key what :meth:`read` returns, in as few round trips.

        Args:
            keys: the keys.
        """
        raws = await self._read_together(keys)
        found: list[tuple[StoredValue | None, bool]] = []
        for key, raw in zip(keys, raws, strict=True):
            first, second = self._judge(key, raw)
            if isinstance(first, list):
                found.append(await self._with_tags(key, first, cast("bytes", second), raw.left))
            else:
                found.append((first, cast("bool", second)))
        return found

    def _idle(self) -> None:
        self._busy = False

    async def _read_one(self, key: str) -> _Raw:
        part = self._part(key)
        name = part.values + key
        found, left = await self.link.execute_many(
            (("MGET", name, part.generation, part.guards), ("PTTL", name)), key=name
        )
        if isinstance(found, Exception):
            raise found
        return _Raw(found[0], left, found[1], found[2])

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        with Deadline.detached():
            task = asyncio.ensure_future(self._answer(waiting))
        task.add_done_callback(_consumed)

    async def _answer(self, waiting: list[tuple[str, asyncio.Future[_Raw]]]) -> None:
        try:
            raws = await self._read_together([key for key, _ in waiting])
        except BaseException as error:
            for _, future in waiting:
                if not future.done():
                    future.set_exception(error)
                    future.exception()  # a reader that was cancelled does not look at it
            raise
        for (_, future), raw in zip(waiting, raws, strict=True):
            if not future.done():
                future.set_result(raw)

    async def _read_together(self, keys: Sequence[str]) -> list[_Raw]:
        if len(keys) == 1:
            return [await self._read_one(keys[0])]
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
        raws: list[Any] = [None] * len(keys)
        for (_, places), reply in zip(chunks, replies, strict=True):
            generation, guards = reply[0], reply[1]
            for nth, at in enumerate(places):
                raws[at] = _Raw(reply[2 + 2 * nth], reply[3 + 2 * nth], generation, guards)
        return raws

    def _judge(self, key: str, raw: _Raw) -> tuple[StoredValue | None, bool] | tuple[list[str], bytes]:
        """Return the value when its versions hold, and whether it was unreadable; head and body if it has tags."""
        value, left, generation, guards = raw
        if value is None or left == -2:
            return _ABSENT
        head, body = _split(value)
        if head is None:
            return _UNREADABLE
        if generation is None or head[1] != generation.decode():
            return _ABSENT
        if guards is not None and self._guarded(key, head[2], guards):
            return _ABSENT
        if len(head) > 3:
            return head, body
        found = self._parse(body, left, [])
        return (found, False) if found is not None else _UNREADABLE

    async def _with_tags(
        self, key: str, head: list[str], body: bytes, left: int
    ) -> tuple[StoredValue | None, bool]:
        """Return the value when the versions of its tags hold, and whether it was unreadable."""
        part = self._part(key)
        names = [part.tags + tag for tag in head[3::2]]
        current: list[bytes | None] = await self.link.execute("MGET", *names, key=names[0])
        if any(now is None or now.decode() != then for now, then in zip(current, head[4::2], strict=True)):
            return None, False
        found = self._parse(body, left, head[3::2])
        return found, found is None

    def _guarded(self, key: str, barrier: str, text: bytes) -> bool:
        if text != self._guards[0]:
            try:
                guards = tuple(Guard(token, at, Patterns(each)) for token, at, each in json.loads(text))
            except ValueError:
                return True  # unreadable: what it protects is unknown, so everything
            self._guards = (text, guards)
        return any(
            int(barrier) < int(guard.barrier) and guard.patterns.match(key) for guard in self._guards[1]
        )

    def _parse(self, body: bytes, left: int, tags: list[str]) -> StoredValue | None:
        try:
            codec, life, stale, cost, payload = body.split(b";", 4)
            if codec != self._codec:
                return None
            # PTTL is read beside the value, not with it: a newer value in between may have the longer life.
            span = math.inf if left < 0 else min(left, int(life) or left) / 1000
            return StoredValue(payload, span, int(stale) / 1000, int(cost) / 1_000_000, tuple(tags))
        except ValueError:
            return None

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


_ABSENT: Final[tuple[None, bool]] = (None, False)
_UNREADABLE: Final[tuple[None, bool]] = (None, True)


def _split(value: bytes) -> tuple[list[str] | None, bytes]:
    """Return the head (write id, generation, barrier, tag, version, …) and the body of a stored value."""
    if value[:3] != _HEAD or len(value) < 7:
        return None, b""
    end = 7 + int.from_bytes(value[3:7], "big")
    try:
        head = _loads(value[7:end])
        if (
            type(head) is list
            and len(head) % 2 == 1
            and len(head) >= 3
            and "".join(head)
            and head[2].isdigit()
        ):
            return head, value[end:]
    except (ValueError, TypeError, AttributeError):
        pass
    return None, b""


def _consumed(task: asyncio.Task[None]) -> None:
    """Take note of the error: every reader has received it."""
    if not task.cancelled():
        task.exception()
