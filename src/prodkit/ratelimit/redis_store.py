"""Logs in Redis: one script per step, on the clock of Redis.

A log is one string of entries, each seven bytes of microseconds and three of count, big-endian and in
order. Stamps in a log are unique, so that a refund removes exactly what its check had taken.
"""

from __future__ import annotations

import hashlib
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from prodkit.ratelimit.algorithms import Outlook
from prodkit.ratelimit.limit import Key, Limit
from prodkit.redis.link import RedisLink
from prodkit.redis.scripts import Script

__all__ = ["Sealer", "mark", "merge", "refund", "short", "take"]

_TAKE: Final = Script("""
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local cost = tonumber(ARGV[1])
local logs, firsts, reply, fits = {}, {}, {1}, true
for i = 1, #KEYS do
  local amount, window = tonumber(ARGV[3 * i - 1]), tonumber(ARGV[3 * i])
  local log = redis.call('GET', KEYS[i]) or ''
  local first, used, last = 1, 0, 0
  for at = 1, #log, 10 do
    local stamp, count = struct.unpack('>I7I3', log, at)
    if stamp + window <= now then first = at + 10 else used = used + count end
    last = stamp
  end
  local missing, wait = used + cost - amount, 0
  if missing > 0 then
    fits, wait = false, window
    for at = first, #log, 10 do
      local stamp, count = struct.unpack('>I7I3', log, at)
      missing = missing - count
      if missing <= 0 then wait = stamp + window - now break end
    end
  end
  local more, full = 0, 0
  if used > 0 then
    more, full = struct.unpack('>I7', log, first) + window - now, last + window - now
  end
  logs[i], firsts[i] = log, first
  reply[#reply + 1] = math.max(0, amount - used)
  reply[#reply + 1] = wait
  reply[#reply + 1] = more
  reply[#reply + 1] = full
  reply[#reply + 1] = 0
end
if not fits then reply[1] = 0 return reply end
if cost == 0 then return reply end
for i = 1, #KEYS do
  local window, slot = tonumber(ARGV[3 * i]), tonumber(ARGV[3 * i + 1])
  local log = string.sub(logs[i], firsts[i])
  local at, count, size = math.ceil(now / slot) * slot, cost, #log
  if size > 0 then
    local stamp, before = struct.unpack('>I7I3', log, size - 9)
    if stamp >= at and slot > 1 then
      at, count, log = stamp, before + cost, string.sub(log, 1, size - 10)
    elseif stamp >= at then
      at = stamp + 1
    end
  end
  redis.call('SET', KEYS[i], log .. struct.pack('>I7I3', at, count),
             'PX', math.ceil((at - now + window) / 1000) + 1)
  local base = 5 * i - 3
  reply[base] = math.max(0, reply[base] - cost)
  if reply[base + 2] == 0 then reply[base + 2] = at + window - now end
  reply[base + 3] = at + window - now
  reply[base + 4] = at
end
return reply
""")

# KEYS[1]; ARGV: pairs of stamp and count to take out again.
_REFUND: Final = Script("""
local log = redis.call('GET', KEYS[1])
if not log then return 0 end
local back = {}
for i = 1, #ARGV, 2 do back[tonumber(ARGV[i])] = tonumber(ARGV[i + 1]) end
local kept, done = {}, 0
for at = 1, #log, 10 do
  local stamp, count = struct.unpack('>I7I3', log, at)
  local less = back[stamp]
  if less then done = done + 1 end
  if not less then kept[#kept + 1] = string.sub(log, at, at + 9)
  elseif count > less then kept[#kept + 1] = struct.pack('>I7I3', stamp, count - less) end
end
if done == 0 then return 0 end
if #kept == 0 then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], table.concat(kept), 'KEEPTTL')
end
return done
""")

# KEYS[1]; ARGV: window, whether to begin from nothing, then pairs of age and count, oldest first. Returns
# stamps.
_MERGE: Final = Script("""
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local window = tonumber(ARGV[1])
local entries, taken, stamps = {}, {}, {}
if ARGV[2] == '1' then
  redis.call('DEL', KEYS[1])
else
  local log = redis.call('GET', KEYS[1]) or ''
  for at = 1, #log, 10 do
    local stamp, count = struct.unpack('>I7I3', log, at)
    if stamp + window > now then
      entries[#entries + 1] = {stamp, count}
      taken[stamp] = true
    end
  end
end
for i = 3, #ARGV, 2 do
  local stamp = now - tonumber(ARGV[i])
  while taken[stamp] do stamp = stamp + 1 end
  taken[stamp] = true
  entries[#entries + 1] = {stamp, tonumber(ARGV[i + 1])}
  stamps[#stamps + 1] = stamp
end
if #entries == 0 then return stamps end
table.sort(entries, function(a, b) return a[1] < b[1] end)
local packed = {}
for i, entry in ipairs(entries) do packed[i] = struct.pack('>I7I3', entry[1], entry[2]) end
local ends = math.ceil((entries[#entries][1] - now + window) / 1000) + 1
if ends > 0 then redis.call('SET', KEYS[1], table.concat(packed), 'PX', ends) end
return stamps
""")


# KEYS[1]; ARGV: a new mark, its life in milliseconds. The mark lives as long as what Redis knows of the limits.
_MARK: Final = Script("""
local found = redis.call('GET', KEYS[1])
if not found then
  found = ARGV[1]
  redis.call('SET', KEYS[1], found)
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return found
""")
_YEAR: Final = 366 * 86_400_000


class Sealer:
    """Names of logs in Redis. Who is counted cannot be read from them.

    The key is a keyed digest when a `secret` is given. Without one, whoever can read Redis could still test
    guesses. All names carry one hash tag, so that several limits fit in one script on a cluster as well.
    """

    def __init__(self, namespace: str, secret: bytes) -> None:
        self._prefix = f"{{{namespace}}}:"
        self._secret = secret

    def name(self, limit: Limit, key: Key) -> str:
        digest = hashlib.blake2b(
            _typed(key), digest_size=12, key=self._secret, person=b"prodkit-limit"
        ).digest()
        return f"{self._prefix}{limit.series}:{urlsafe_b64encode(digest).decode()}"


def short(secret: bytes) -> bytes:
    """A secret that is longer than what BLAKE2 takes as a key, made to fit."""
    return hashlib.blake2b(secret).digest()


def _typed(key: Key) -> bytes:
    match key:
        case str():
            return b"s" + key.encode("utf-8", "surrogatepass")
        case bytes():
            return b"b" + key
        case int():
            return b"i%d" % key
        case UUID():
            return b"u" + key.bytes
        case _:
            return b"n"


async def take(
    link: RedisLink, names: Sequence[str], limits: Sequence[Limit], cost: int
) -> tuple[bool, list[Outlook], list[int]]:
    """All limits in one round trip: whether all had room, how each stands, and the stamps of what was
    taken.
    """
    args: list[int] = [cost]
    for limit in limits:
        args += (limit.amount, limit.window_us, limit.quantum_us)
    reply: list[int] = await _TAKE(link, keys=names, args=args)
    rows = [reply[at : at + 5] for at in range(1, len(reply), 5)]
    return bool(reply[0]), [Outlook(*row[:4]) for row in rows], [row[4] for row in rows]


async def mark(link: RedisLink, namespace: str) -> bytes:
    """What tells whether Redis still has what it had: another mark means that it has lost it."""
    found: bytes = await _MARK(link, keys=[f"{{{namespace}}}:mark"], args=[secrets.token_hex(8), _YEAR])
    return found


async def refund(client: Any, name: str, entries: Sequence[tuple[int, int]]) -> None:
    """Takes `entries` (stamp, count) out again."""
    await _REFUND.on(client, [name], [number for entry in entries for number in entry])


async def merge(
    client: Any, name: str, limit: Limit, afresh: bool, entries: Sequence[tuple[int, int]]
) -> list[int]:
    """Writes admissions (age, count) made without Redis into it, and returns their stamps."""
    args = [limit.window_us, int(afresh), *(number for entry in entries for number in entry)]
    stamps: list[int] = await _MERGE.on(client, [name], args)
    return stamps
