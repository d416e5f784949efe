"""L2: entries in Redis, and the versions that say whether they still hold.

A value is stored together with the generation of its namespace, the versions of its tags, and an id of its
own. It holds while generation and versions are what they were; a version that is gone (expired, evicted)
matches nothing, so the loss of one costs a miss and never brings an old value back. Every script reads
value and versions in one step.

A load captures what was there before it began, and is stored only if nobody wrote or invalidated since:
deleting leaves a fence for as long as a load may take, and invalidating by pattern or at large moves the
epoch.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from prodkit.redis.link import RedisLink
from prodkit.redis.scripts import Script

__all__ = ["Capture", "Found", "SharedTier"]

_FENCE: Final = 600_000  # milliseconds: the longest load that a delete elsewhere is sure to overtake

# Head of a stored value: 'pk1', length of the versions, versions as a JSON list {id, generation, tag,
# version, …}.
_COMMON: Final = """
local function version(key, life)
  local found = redis.call('GET', key)
  if found then return found end
  local time = redis.call('TIME')
  found = time[1] .. string.format('%06d', time[2])
  if life then redis.call('SET', key, found, 'PX', life) else redis.call('SET', key, found) end
  return found
end
local function versions_of(value)
  if type(value) ~= 'string' or string.sub(value, 1, 3) ~= 'pk1' then return nil end
  local ok, size = pcall(struct.unpack, '>I4', string.sub(value, 4, 7))
  if not ok then return nil end
  local good, list = pcall(cjson.decode, string.sub(value, 8, 7 + size))
  if good and type(list) == 'table' then return list, 8 + size end
end
"""

# KEYS: value. ARGV: namespace, key, and for a load the tags to capture after a '1'. The other names follow
# from these: fewer arguments are fewer microseconds, and a cluster is not served anyway.
_READ: Final = Script(
    _COMMON
    + """
local value = redis.pcall('GET', KEYS[1])
local generation, tag = ARGV[1] .. ':g', ARGV[1] .. ':t:'
local list, body = versions_of(value)
local reply = {false, 0, {}, ''}
if list then
  reply[4] = list[1]
  local holds = list[2] == redis.call('GET', generation)
  for i = 3, #list, 2 do
    holds = holds and redis.call('GET', tag .. list[i]) == list[i + 1]
  end
  if holds then
    reply[1] = string.sub(value, body)
    reply[2] = redis.call('PTTL', KEYS[1])
    for i = 3, #list, 2 do reply[3][#reply[3] + 1] = list[i] end
  end
end
if ARGV[3] then
  reply[5], reply[6] = version(generation), version(ARGV[1] .. ':e')
  reply[7] = redis.call('GET', ARGV[1] .. ':f:' .. ARGV[2]) or ''
  for i = 4, #ARGV do reply[#reply + 1] = version(tag .. ARGV[i], 86400000) end
end
return reply
"""
)

# KEYS: value, generation, epoch, fence. ARGV: prefix of tags, milliseconds or 0, body, id, number of tags,
# tags, and for a load what was captured: id before, generation, epoch, fence, tag versions.
_WRITE: Final = Script(
    _COMMON
    + """
local count = tonumber(ARGV[5])
local list = {ARGV[4], version(KEYS[2])}
for i = 1, count do
  list[#list + 1] = ARGV[5 + i]
  list[#list + 1] = version(ARGV[1] .. ARGV[5 + i], 86400000)
end
local at = 6 + count
if #ARGV >= at then
  local before = versions_of(redis.pcall('GET', KEYS[1]))
  if (before and before[1] or '') ~= ARGV[at] then return 0 end
  if list[2] ~= ARGV[at + 1] or version(KEYS[3]) ~= ARGV[at + 2] then return 0 end
  if (redis.call('GET', KEYS[4]) or '') ~= ARGV[at + 3] then return 0 end
  for i = 1, count do
    if list[2 + 2 * i] ~= ARGV[at + 3 + i] then return 0 end
  end
end
local head = cjson.encode(list)
local life = tonumber(ARGV[2])
local value = 'pk1' .. struct.pack('>I4', #head) .. head .. ARGV[3]
if life > 0 then redis.call('SET', KEYS[1], value, 'PX', life) else redis.call('SET', KEYS[1], value) end
for i = 1, count do
  local tag = ARGV[1] .. ARGV[5 + i]
  local left = redis.call('PTTL', tag)
  if life == 0 then
    redis.call('PERSIST', tag)
  elseif left >= 0 and left < life then
    -- twice as long: each change of a tag is news for all who keep what depends on it
    redis.call('PEXPIRE', tag, 2 * life)
  end
end
return 1
"""
)

# KEYS: value and fence, in turn. ARGV: what the fences hold, their life.
_DELETE: Final = Script("""
local gone = 0
for i = 1, #KEYS, 2 do
  gone = gone + redis.call('UNLINK', KEYS[i])
  redis.call('SET', KEYS[i + 1], ARGV[1], 'PX', ARGV[2])
end
return gone
""")

# KEYS: tags, generation or epoch. A version that is not there has nothing that depends on it.
_MOVE: Final = Script("""
for i = 1, #KEYS do
  if redis.call('EXISTS', KEYS[i]) == 1 then redis.call('INCR', KEYS[i]) end
end
""")


@dataclass(frozen=True, slots=True)
class Capture:
    """What was there before a load began: id of the value, generation, epoch, fence, versions of the tags."""

    versions: tuple[bytes, ...]


class Found(NamedTuple):
    """A value that holds. `left` is its remaining life in seconds, ``math.inf`` for one without end."""

    payload: bytes
    left: float
    stale: float
    cost: float
    tags: tuple[str, ...]


class SharedTier:
    """The commands of one namespace. Every method raises what :meth:`RedisLink.run` raises."""

    def __init__(self, link: RedisLink, namespace: str, codec: str) -> None:
        self._link = link
        self._namespace = namespace
        self._values = f"{namespace}:v:"
        self._fences = f"{namespace}:f:"
        self._tags = f"{namespace}:t:"
        self._generation = f"{namespace}:g"
        self._epoch = f"{namespace}:e"
        self._codec = codec.encode()

    def _keys(self, key: str) -> tuple[str, str, str, str]:
        return self._values + key, self._generation, self._epoch, self._fences + key

    async def read(
        self, key: str, tags: Sequence[str] | None = None
    ) -> tuple[Found | None, Capture | None, bool]:
        """The value, what a load has to know (when `tags` is given), and whether the value was unreadable."""
        args = [self._namespace, key] if tags is None else [self._namespace, key, "1", *tags]
        reply: list[Any] = await _READ(self._link, keys=(self._values + key,), args=args)
        capture = None if tags is None else Capture(tuple(reply[3:]))
        if reply[0] is None:
            return None, capture, False
        found = self._parse(reply[0], reply[1], reply[2])
        return found, capture, found is None

    def _parse(self, body: bytes, left: int, tags: list[bytes]) -> Found | None:
        try:
            codec, stale, cost, payload = body.split(b";", 3)
            if codec != self._codec:
                return None
            return Found(
                payload,
                math.inf if left < 0 else left / 1000,
                int(stale) / 1000,
                int(cost) / 1_000_000,
                tuple(tag.decode() for tag in tags),
            )
        except ValueError:
            return None

    async def write(
        self,
        key: str,
        payload: bytes,
        *,
        life: float,
        stale: float,
        cost: float,
        tags: Sequence[str],
        write_id: str,
        capture: Capture | None = None,
    ) -> bool:
        """Stores; with a `capture` only if nothing has happened to `key` since. Tells whether it did."""
        span = 0 if stale == math.inf else int(stale * 1000)
        body = b"%b;%d;%d;%b" % (self._codec, span, int(cost * 1_000_000), payload)
        millis = 0 if life == math.inf else max(1, int(life * 1000))
        args: list[str | bytes | int] = [self._tags, millis, body, write_id, len(tags), *tags]
        if capture is not None:
            args += capture.versions
        return bool(await _WRITE(self._link, keys=self._keys(key), args=args))

    async def delete(self, keys: Sequence[str], token: str) -> int:
        gone = 0
        for start in range(0, len(keys), 500):
            names = [
                name for key in keys[start : start + 500] for name in (self._values + key, self._fences + key)
            ]
            gone += int(await _DELETE(self._link, keys=names, args=[token, _FENCE]))
        return gone

    async def move_tags(self, tags: Iterable[str]) -> None:
        await _MOVE(self._link, keys=[self._tags + tag for tag in tags])

    async def delete_matching(self, pattern: str) -> int:
        """One pass of SCAN. What is loaded meanwhile is not stored; what is set meanwhile may stay."""
        await _MOVE(self._link, keys=[self._epoch])
        return await self._sweep(pattern)

    async def clear(self) -> int:
        """Everything at once becomes invalid; then it is removed."""
        await _MOVE(self._link, keys=[self._generation, self._epoch])
        return await self._sweep("*")

    async def _sweep(self, pattern: str) -> int:
        gone, cursor, match = 0, 0, self._values + pattern
        while True:
            cursor, names = await self._link.run(lambda client: client.scan(cursor, match, count=1000))  # noqa: B023
            if names:
                gone += int(await self._link.run(lambda client: client.unlink(*names)))  # noqa: B023
            if not cursor:
                return gone
