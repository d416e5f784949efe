"""The Lua scripts of the Redis tier.

A stored value is ``pk2``, the length of the head in four bytes, the head as a JSON list of texts (write id,
generation, barrier, then tag and version in turn), and the body.
"""

from __future__ import annotations

from typing import Final

from prodkit.redis.scripts import Script

__all__ = ["CAPTURE", "DELETE", "GUARD", "MOVE", "READ_MANY", "RELEASE_GUARD", "WRITE"]

# Something else under the name of a version, barrier or guard is as good as nothing, and is replaced: it makes misses.
_TEXT: Final = """
local function text(key)
  local found = redis.pcall('GET', key)
  return type(found) == 'string' and found
end
"""
_COMMON: Final = (
    _TEXT
    + """
local function version(key, life)
  local found = text(key)
  if found and tonumber(found) then return found end
  local time = redis.call('TIME')
  found = time[1] .. string.format('%06d', time[2])
  if life then redis.call('SET', key, found, 'PX', life) else redis.call('SET', key, found) end
  return found
end
local function write_id(key)
  local value = redis.pcall('GET', key)
  if type(value) ~= 'string' or string.sub(value, 1, 3) ~= 'pk2' then return '' end
  local ok, size = pcall(struct.unpack, '>I4', string.sub(value, 4, 7))
  if not ok then return '' end
  local good, list = pcall(cjson.decode, string.sub(value, 8, 7 + size))
  return good and type(list) == 'table' and tostring(list[1]) or ''
end
"""
)

# KEYS: generation, guards, values. Returns generation, guards, then value and PTTL of each.
READ_MANY: Final = Script("""
local reply = redis.call('MGET', unpack(KEYS))
local result = {reply[1], reply[2]}
for i = 3, #KEYS do
  result[#result + 1] = reply[i]
  result[#result + 1] = reply[i] and redis.call('PTTL', KEYS[i]) or -2
end
return result
""")

# KEYS: value, generation, barrier, key barrier, tags. Returns write id, generation, barrier, key barrier, versions.
CAPTURE: Final = Script(
    _COMMON
    + """
local reply = {write_id(KEYS[1]), version(KEYS[2]), version(KEYS[3]), text(KEYS[4]) or ''}
for i = 5, #KEYS do reply[#reply + 1] = version(KEYS[i], 86400000) end
return reply
"""
)

# KEYS: value, generation, barrier, key barrier, lease, tags. ARGV: milliseconds or 0, body, write id, lease token or
# '', tags, and for a load the snapshot.
WRITE: Final = Script(
    _COMMON
    + """
local count = #KEYS - 5
local list = {ARGV[3], version(KEYS[2]), version(KEYS[3])}
for i = 1, count do
  list[#list + 1] = ARGV[4 + i]
  list[#list + 1] = version(KEYS[5 + i], 86400000)
end
if ARGV[4] ~= '' and text(KEYS[5]) ~= ARGV[4] then return 0 end
local at = 5 + count
if #ARGV >= at then
  if write_id(KEYS[1]) ~= ARGV[at] then return 0 end
  if list[2] ~= ARGV[at + 1] or list[3] ~= ARGV[at + 2] then return 0 end
  if (text(KEYS[4]) or '') ~= ARGV[at + 3] then return 0 end
  for i = 1, count do
    if list[3 + 2 * i] ~= ARGV[at + 3 + i] then return 0 end
  end
end
local head = cjson.encode(list)
local life = tonumber(ARGV[1])
local value = 'pk2' .. struct.pack('>I4', #head) .. head .. ARGV[2]
if life > 0 then redis.call('SET', KEYS[1], value, 'PX', life) else redis.call('SET', KEYS[1], value) end
for i = 1, count do
  local tag = KEYS[5 + i]
  local left = redis.call('PTTL', tag)
  if life == 0 then
    redis.call('PERSIST', tag)
  elseif left >= 0 and left < life then
    -- twice as long: each change of a tag is a message to all who keep what depends on it
    redis.call('PEXPIRE', tag, 2 * life)
  end
end
return 1
"""
)

# KEYS: value and key barrier, in turn. ARGV: the new content of the barriers, their life.
DELETE: Final = Script("""
local gone = 0
for i = 1, #KEYS, 2 do
  gone = gone + redis.call('UNLINK', KEYS[i])
  redis.call('SET', KEYS[i + 1], ARGV[1], 'PX', ARGV[2])
end
return gone
""")

# KEYS: tags, generation or barrier. A version that is not there has nothing that depends on it.
MOVE: Final = Script("""
for i = 1, #KEYS do
  if redis.call('EXISTS', KEYS[i]) == 1 then
    local moved = redis.pcall('INCR', KEYS[i])
    if type(moved) == 'table' then redis.call('UNLINK', KEYS[i]) end  -- it is no version: the next one is new
  end
end
""")

# KEYS: guards, barrier. ARGV: token, patterns as JSON, life. Returns the new barrier.
GUARD: Final = Script(
    _COMMON
    + """
version(KEYS[2])
redis.call('INCR', KEYS[2])
local barrier = redis.call('GET', KEYS[2])
local good, guards = pcall(cjson.decode, text(KEYS[1]) or '[]')
if not good or type(guards) ~= 'table' then guards = {} end
guards[#guards + 1] = {ARGV[1], barrier, cjson.decode(ARGV[2])}
redis.call('SET', KEYS[1], cjson.encode(guards), 'PX', ARGV[3])
return barrier
"""
)

# KEYS: guards. ARGV: token.
RELEASE_GUARD: Final = Script(
    _TEXT
    + """
local kept = {}
local good, guards = pcall(cjson.decode, text(KEYS[1]) or '[]')
for _, guard in ipairs(good and type(guards) == 'table' and guards or {}) do
  if guard[1] ~= ARGV[1] then kept[#kept + 1] = guard end
end
if #kept == 0 then return redis.call('DEL', KEYS[1]) end
redis.call('SET', KEYS[1], cjson.encode(kept), 'KEEPTTL')
return 1
"""
)
