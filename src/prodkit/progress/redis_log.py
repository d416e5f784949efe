"""A log in Redis streams, for services with more than one process."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.errors import PoolExhaustedError, RedisError
from prodkit.progress.memory_log import MemoryLog, Page, Progress
from prodkit.redis.scripts import Script

if TYPE_CHECKING:
    from prodkit.redis.link import RedisLink

__all__ = ["RedisLog"]

# The id of an entry is "<number>-0". What this process numbered while Redis was away counts as given out (ARGV[5]).
_APPEND: Final = Script("""
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
local newest = tonumber(ARGV[5])
if last[1] then
  local number = tonumber(string.match(last[1][1], '^%d+'))
  if number > newest then newest = number end
end
newest = newest + 1
redis.call('XADD', KEYS[1], 'MAXLEN', ARGV[3], string.format('%.0f-0', newest), 'n', ARGV[1], 'd', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return newest
""")
_READ: Final = Script("""
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
if not last[1] then return {0, {}} end
local newest = tonumber(string.match(last[1][1], '^%d+'))
if newest <= tonumber(ARGV[1]) then return {newest, {}} end
return {newest, redis.call('XRANGE', KEYS[1], string.format('%.0f-0', ARGV[1] + 1), '+', 'COUNT', ARGV[2])}
""")


class RedisLog:
    """The latest `keep` events of each topic in a Redis stream, with a copy of what this process published.

    While Redis is away, publishing and following go on inside each process from that copy; ids go on too. Readers
    in other processes see the gap when Redis is back, and get one ``resync``.
    """

    def __init__(
        self,
        link: RedisLink,
        *,
        keep: int = 500,
        ttl: float = 3600.0,
        namespace: str = "progress",
        runtime: Runtime = SYSTEM,
    ) -> None:
        self._link = link
        self._local = MemoryLog(keep=keep, ttl=ttl, runtime=runtime)
        self._keep = keep
        self._ttl = ttl
        self._namespace = namespace

    async def append(self, topic: str, name: str, data: Any) -> Progress:
        text = json.dumps(data, allow_nan=False, separators=(",", ":"))
        known = self._local.newest(topic)
        try:
            number = await _APPEND(
                self._link,
                keys=[self._key(topic)],
                args=[name, text, self._keep, int(self._ttl * 1000), known],
            )
        except (RedisError, PoolExhaustedError):
            return await self._local.append(topic, name, data)
        return self._local.put(topic, int(number), name, data)

    async def read(self, topic: str, after: int, limit: int) -> Page:
        try:
            newest, entries = await _READ(self._link, keys=[self._key(topic)], args=[after, limit])
        except (RedisError, PoolExhaustedError):
            page = await self._local.read(topic, after, limit)
            # What others published is out of sight, which is no reason to begin again.
            return page if page.newest >= after else Page((), after)
        if self._local.newest(topic) > int(newest):  # published here while Redis was away
            return await self._local.read(topic, after, limit)
        return Page(tuple(_event(entry) for entry in entries), int(newest))

    def _key(self, topic: str) -> str:
        return f"{self._namespace}:{{{topic}}}"

    def __repr__(self) -> str:
        return f"RedisLog({self._namespace!r}, keep={self._keep})"


def _event(entry: Any) -> Progress:
    number, fields = entry
    flat = [_text(each) for each in fields]
    values = dict(zip(flat[::2], flat[1::2], strict=True))
    return Progress(int(_text(number).partition("-")[0]), values["n"], json.loads(values["d"]))


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
