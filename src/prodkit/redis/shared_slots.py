"""The slots and the queue of a shared bulkhead, as they lie in Redis, and how its waiters are woken.

::

    slots    NS:slots     slot by the end of its lease       TAKE adds, RENEW moves, RELEASE removes
    queue    NS:queue     first waiters by the time of asking
    waiting  NS:waiting   first waiters by the end of their liveness: a process that asks no more leaves the queue
    wake     NS:wake:ID   a token for the process whose waiter is first; it blocks on this list while it queues

A slot is named ``process:number``. RELEASE, and a TAKE that leaves slots free, wake the process that is next.
"""

from __future__ import annotations

from typing import Final

from prodkit.redis.scripts import Script

__all__ = ["RELEASE", "RENEW", "TAKE"]

_COMMON: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function leave(gone)
  redis.call('ZREM', KEYS[2], gone)
  redis.call('ZREM', KEYS[3], gone)
end
local function forget_the_dead()
  for _, gone in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now)) do leave(gone) end
end
local function wake_next(prefix)
  local first = redis.call('ZRANGE', KEYS[2], 0, 0)[1]
  if not first then return end
  local list = prefix .. string.match(first, '^[^:]*')
  redis.call('DEL', list)
  redis.call('RPUSH', list, '1')
  redis.call('PEXPIRE', list, 1000)
end
"""
# KEYS: slots, queue, waiting. ARGV: limit, slot, lease, milliseconds to stay in the queue or 0, prefix of the wake
# lists. Returns 1 when the slot was taken; also if it was before, by a call whose reply came too late.
TAKE: Final = Script(
    _COMMON
    + """
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
forget_the_dead()
local free = tonumber(ARGV[1]) - redis.call('ZCARD', KEYS[1])
local before = redis.call('ZRANK', KEYS[2], ARGV[2]) or redis.call('ZCARD', KEYS[2])
local mine = redis.call('ZSCORE', KEYS[1], ARGV[2])
if mine then free = free + 1 end
if mine or before < free then
  redis.call('ZADD', KEYS[1], now + ARGV[3], ARGV[2])
  leave(ARGV[2])
  redis.call('PEXPIRE', KEYS[1], 2 * ARGV[3])
  if free > 1 then wake_next(ARGV[5]) end
  return 1
end
if tonumber(ARGV[4]) > 0 then
  redis.call('ZADD', KEYS[2], 'NX', time[1] * 1000000 + time[2], ARGV[2])
  redis.call('ZADD', KEYS[3], now + ARGV[4], ARGV[2])
  redis.call('PEXPIRE', KEYS[2], 10 * ARGV[4])
  redis.call('PEXPIRE', KEYS[3], 10 * ARGV[4])
end
return 0
"""
)
# KEYS: slots. ARGV: lease, slots. One that Redis has lost is there again: its call runs.
RENEW: Final = Script("""
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for i = 2, #ARGV do redis.call('ZADD', KEYS[1], now + ARGV[1], ARGV[i]) end
redis.call('PEXPIRE', KEYS[1], 2 * ARGV[1])
""")
# KEYS: as of TAKE. ARGV: prefix of the wake lists, slots.
RELEASE: Final = Script(
    _COMMON
    + """
for i = 1, #KEYS do
  for from = 2, #ARGV, 1000 do redis.call('ZREM', KEYS[i], unpack(ARGV, from, math.min(from + 999, #ARGV))) end
end
forget_the_dead()
wake_next(ARGV[1])
"""
)
