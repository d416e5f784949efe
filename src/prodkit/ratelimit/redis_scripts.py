"""The Lua scripts of the limiter: one a step, on the clock of Redis.

A log is one string of entries, each seven bytes of microseconds and three of count, big-endian and in order. Stamps in
a log are unique, so that a refund finds the entry of its check. Where admissions share slots, the stamp of an entry
moves on with each of them, inside its slot.

A mark, random and as long-lived as the logs, stands beside them. A script that finds another mark than the one this
process knows, or none, counts nothing: Redis has lost its memory, and the process first merges what it knows.
"""

from __future__ import annotations

from typing import Final

from prodkit.redis.scripts import Script

__all__ = ["MARK", "MERGE", "REFUND", "TAKE"]

# What is no log, because something else lies under its name, is as good as none: it hurts neither its caller nor the
# others of its script call, and the next admission replaces it.
_READ: Final = """
local function read(key)
  local log = redis.pcall('GET', key)
  if type(log) == 'string' and #log % 10 == 0 then return log end
  return ''
end
"""

# KEYS: logs, mark. ARGV: mark, then for each check its cost and the number of its logs, then amount, window, slot and
# mode of each log; mode 1: count what is refused, mode 2: shadow, mode 3: both. Returns for each check whether it fits,
# then five numbers for each log; -1 and the mark when it is another one. No wait is longer than the window, though
# stamps that had to be unique, or a clock that went back, may lie ahead of now.
TAKE: Final = Script(
    _READ
    + """
local found = redis.pcall('GET', KEYS[#KEYS])
if found ~= ARGV[1] then return {-1, type(found) == 'string' and found} end
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local reply = {}

-- Each check is decided after the one before it: its logs are KEYS[key + 1] and so on, its limits begin at ARGV[arg].
local function check(key, arg, count_of, cost)
  local logs, firsts, fits, counts_denied, top = {}, {}, true, false, #reply + 1
  reply[top] = 1
  local function left(stamp, window) return math.min(window, stamp + window - now) end
  for i = 1, count_of do
    local at4 = arg + 4 * (i - 1)
    local amount, window, mode = tonumber(ARGV[at4]), tonumber(ARGV[at4 + 1]), tonumber(ARGV[at4 + 3])
    local log = read(KEYS[key + i])
    local first, used, last = 1, 0, 0
    for at = 1, #log, 10 do
      local stamp, count = struct.unpack('>I7I3', log, at)
      if stamp + window <= now then first = at + 10 else used = used + count end
      last = stamp
    end
    local missing, wait = used + cost - amount, 0
    if missing > 0 then
      wait = window
      if mode < 2 then fits = false end
      for at = first, #log, 10 do
        local stamp, count = struct.unpack('>I7I3', log, at)
        missing = missing - count
        if missing <= 0 then wait = left(stamp, window) break end
      end
    end
    local more, full = 0, 0
    if used > 0 then
      more, full = left(struct.unpack('>I7', log, first), window), left(last, window)
    end
    logs[i], firsts[i] = log, first
    if mode % 2 == 1 then counts_denied = true end
    reply[#reply + 1] = math.max(0, amount - used)
    reply[#reply + 1] = wait
    reply[#reply + 1] = more
    reply[#reply + 1] = full
    reply[#reply + 1] = 0
  end
  if not fits then reply[top] = 0 end
  if cost == 0 or (not fits and not counts_denied) then return end
  for i = 1, count_of do
    local at4 = arg + 4 * (i - 1)
    local amount, window = tonumber(ARGV[at4]), tonumber(ARGV[at4 + 1])
    local slot, mode = tonumber(ARGV[at4 + 2]), tonumber(ARGV[at4 + 3])
    local base = top + 5 * i - 4
    local admitted = fits and reply[base + 1] == 0
    if admitted or mode % 2 == 1 then
      local log = string.sub(logs[i], firsts[i])
      local at, count, size = now, cost, #log
      if size > 0 then
        local stamp, before = struct.unpack('>I7I3', log, size - 9)
        at = math.max(now, stamp + 1)
        if slot > 1 and math.floor(stamp / slot) == math.floor(at / slot) then
          count, log = before + cost, string.sub(log, 1, size - 10)
        end
      end
      log = log .. struct.pack('>I7I3', at, math.min(count, 16777215))
      if not admitted then
        -- refusals count: the newest entries that fill the amount decide alone, the others are dropped
        local used, first = 0, 1
        for pos = #log - 9, 1, -10 do
          local _, each = struct.unpack('>I7I3', log, pos)
          used = used + each
          if used >= amount then first = pos break end
        end
        log = string.sub(log, first)
        if reply[base + 1] > 0 then
          local missing = used + cost - amount
          for pos = 1, #log, 10 do
            local stamp, each = struct.unpack('>I7I3', log, pos)
            missing = missing - each
            if missing <= 0 then reply[base + 1] = left(stamp, window) break end
          end
        end
      end
      redis.call('SET', KEYS[key + i], log, 'PX', math.ceil((at - now + window) / 1000) + 1)
      reply[base] = math.max(0, reply[base] - cost)
      reply[base + 2] = left(struct.unpack('>I7', log, 1), window)
      reply[base + 3] = left(at, window)
      if admitted then reply[base + 4] = at end
    end
  end
end

local key, arg = 0, 2
while arg < #ARGV do
  local count_of = tonumber(ARGV[arg + 1])
  check(key, arg + 2, count_of, tonumber(ARGV[arg]))
  key, arg = key + count_of, arg + 2 + 4 * count_of
end
return reply
"""
)

# KEYS[1]; ARGV: slot, stamp and count to take out again. Further admissions of its slot may have moved the stamp on.
REFUND: Final = Script(
    _READ
    + """
local log = read(KEYS[1])
local slot, wanted, less = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local found
for at = 1, #log, 10 do
  local stamp = struct.unpack('>I7', log, at)
  if stamp == wanted then found = at break end
  if slot > 1 and stamp > wanted and math.floor(stamp / slot) == math.floor(wanted / slot) then found = at end
end
if not found then return 0 end
local stamp, count = struct.unpack('>I7I3', log, found)
local rest = count > less and struct.pack('>I7I3', stamp, count - less) or ''
log = string.sub(log, 1, found - 1) .. rest .. string.sub(log, found + 10)
if #log == 0 then redis.call('DEL', KEYS[1]) else redis.call('SET', KEYS[1], log, 'KEEPTTL') end
return 1
"""
)

# KEYS[1]; ARGV: window, slot, whether to begin from nothing, then stamp (0: none yet), age and count of each entry,
# oldest first. An entry whose stamp is in the log is known already. So is one whose stamp moved on in its slot, where
# the slot is longer than 1; it is given as 1 after Redis lost its memory, when what lies there is of other processes. A
# stamp that does not fit the age by a second is from another clock, and the age is believed. Returns stamps.
MERGE: Final = Script(
    _READ
    + """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local window, slot = tonumber(ARGV[1]), tonumber(ARGV[2])
local entries, taken, moved, stamps = {}, {}, {}, {}
if ARGV[3] == '1' then
  redis.call('DEL', KEYS[1])
else
  local log = read(KEYS[1])
  for at = 1, #log, 10 do
    local stamp, count = struct.unpack('>I7I3', log, at)
    if stamp + window > now then
      entries[#entries + 1] = {stamp, count}
      taken[stamp] = true
      if slot > 1 then moved[math.floor(stamp / slot)] = {stamp, count} end
    end
  end
end
for i = 4, #ARGV, 3 do
  local stamp, age, count = tonumber(ARGV[i]), tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])
  local later = slot > 1 and moved[math.floor(stamp / slot)]
  if stamp > 0 and (taken[stamp] or (later and later[1] > stamp and later[2] >= count)) then
    stamps[#stamps + 1] = stamp
  else
    if stamp == 0 or math.abs(now - stamp - age) > 1000000 then stamp = now - age end
    while taken[stamp] do stamp = stamp + 1 end
    taken[stamp] = true
    entries[#entries + 1] = {stamp, count}
    stamps[#stamps + 1] = stamp
  end
end
if #entries == 0 then return stamps end
table.sort(entries, function(a, b) return a[1] < b[1] end)
local packed = {}
for i, entry in ipairs(entries) do packed[i] = struct.pack('>I7I3', entry[1], entry[2]) end
local ends = math.ceil((entries[#entries][1] - now + window) / 1000) + 1
if ends > 0 then redis.call('SET', KEYS[1], table.concat(packed), 'PX', ends) end
return stamps
"""
)

# KEYS[1]; ARGV: a new mark, its life in milliseconds. The mark lives as long as the longest window. What is no text is
# replaced.
MARK: Final = Script("""
local found = redis.pcall('GET', KEYS[1])
if type(found) ~= 'string' then
  found = ARGV[1]
  redis.call('SET', KEYS[1], found)
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return found
""")
