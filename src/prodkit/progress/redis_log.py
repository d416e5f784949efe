"""A log in Redis streams, for services with more than one process.

Keys of a topic share a hash tag, so that they live on one node of a cluster::

    progress:{run:7}          stream   <id>-0  n=name d=data u=tag     the latest `keep` events
    progress:{run:7}:latest   hash     name -> "<id> <data>"           the latest event of each name
    progress:events           channel  every append, for the listener of each process
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Collection, Container
from itertools import count
from typing import TYPE_CHECKING, Any, Final, cast

from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.errors import PoolExhaustedError, RedisError
from prodkit.progress.memory_log import LATEST, MemoryLog, Page, Progress
from prodkit.progress.redis_listener import RedisListener
from prodkit.redis.scripts import Script

if TYPE_CHECKING:
    from prodkit.redis.link import RedisLink

__all__ = ["RedisLog"]

_RESTORED_TOPICS: Final = 1000
"""Topics that are compared with Redis when it comes back: the ones with the latest events."""

_COMMON: Final = """
local function newest_of()
  local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
  return last[1] and tonumber(string.match(last[1][1], '^%d+')) or 0
end
local function put(id, name, data, tag, keep)
  redis.call('XADD', KEYS[1], 'MAXLEN', keep, string.format('%.0f-0', id), 'n', name, 'd', data, 'u', tag)
  redis.call('HSET', KEYS[2], name, string.format('%.0f ', id) .. data)
  if redis.call('HLEN', KEYS[2]) > LATEST then
    local all, oldest, victim = redis.call('HGETALL', KEYS[2]), nil, nil
    for i = 1, #all, 2 do
      local number = tonumber(string.match(all[i + 1], '^%d+'))
      if not oldest or number < oldest then oldest, victim = number, all[i] end
    end
    redis.call('HDEL', KEYS[2], victim)
  end
end
""".replace("LATEST", str(LATEST))
# The numbers that this process gave out while Redis was away count as given out (ARGV[5]). Data of more than 4 KiB
# is not published with the message; its readers fetch it from the stream.
_APPEND: Final = Script(
    _COMMON
    + """
local newest = math.max(newest_of(), tonumber(ARGV[5])) + 1
put(newest, ARGV[1], ARGV[2], ARGV[6], ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call('PEXPIRE', KEYS[2], ARGV[4])
local head = string.format('%.0f %s %d ', newest, ARGV[1], #ARGV[8])
if #ARGV[2] <= 4096 then
  redis.call('PUBLISH', ARGV[7], head .. '1\\n' .. ARGV[8] .. ARGV[2])
else
  redis.call('PUBLISH', ARGV[7], head .. '0\\n' .. ARGV[8])
end
return newest
"""
)
_READ: Final = Script("""
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
if not last[1] then return {0, {}} end
local newest = tonumber(string.match(last[1][1], '^%d+'))
if newest <= tonumber(ARGV[1]) then return {newest, {}} end
return {newest, redis.call('XRANGE', KEYS[1], string.format('%.0f-0', ARGV[1] + 1), '+', 'COUNT', ARGV[2])}
""")
# Events that Redis lost, or never saw, in groups of five: id, name, data, tag, and 1 for "Redis never saw it". Such an
# event whose number another process took is appended under a new one, unless the tag says that it is the same event
# (written, but the answer was lost).
_RESTORE: Final = Script(
    _COMMON
    + """
local newest, renumbered = newest_of(), 0
for i = 5, #ARGV, 5 do
  local id = tonumber(ARGV[i])
  if id > newest then
    newest = id
    put(newest, ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[1])
  elseif ARGV[i + 4] == '1' then
    local at = string.format('%.0f-0', id)
    local found, same = redis.call('XRANGE', KEYS[1], at, at), false
    for _, entry in ipairs(found) do
      for j = 1, #entry[2], 2 do
        same = same or (entry[2][j] == 'u' and entry[2][j + 1] == ARGV[i + 3])
      end
    end
    if not same then
      newest, renumbered = newest + 1, renumbered + 1
      put(newest, ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[1])
    end
  end
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[2])
redis.call('PUBLISH', ARGV[3], string.format('%.0f - %d 0\\n', newest, #ARGV[4]) .. ARGV[4])
return renumbered
"""
)


class RedisLog:
    """The latest events of each topic in a Redis stream, with a copy of what this process published.

    While Redis is away, publishing and following continue inside each process from that copy, and ids continue too.
    When Redis is back, the process that published restores what Redis lost or never saw, so readers elsewhere get the
    missed events, or one ``resync`` and the terminal event. When two processes publish to one topic during an outage,
    the events of one of them get new ids, and its own followers see them again.

    Args:
        link: a configured RedisLink.
        keep: events kept for each topic.
        ttl: seconds after its last event until a topic is forgotten.
        namespace: prefix of the keys.
        runtime: clock to use.
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
        self._runtime = runtime
        self._channel = f"{namespace}:events"
        self._process = secrets.token_hex(6)
        self._numbers = count(1)
        self._unsent: dict[str, set[int]] = {}
        """Ids given out while Redis was away, by topic."""
        self._unsure: set[str] = set()
        """Topics that Redis may have lost."""
        link.on_up(self._restore_all)

    async def append(self, topic: str, name: str, data: Any) -> Progress:
        """Add the event `name` with `data` to `topic` under the next id."""
        text = json.dumps(data, allow_nan=False, separators=(",", ":"))
        tag = f"{self._process}:{next(self._numbers)}"
        try:
            if topic in self._unsure:
                await self._restore(topic)
            number = await _APPEND(
                self._link,
                keys=self._keys(topic),
                args=[
                    name,
                    text,
                    self._keep,
                    int(self._ttl * 1000),
                    self._local.newest(topic),
                    tag,
                    self._channel,
                    topic,
                ],
            )
        except (RedisError, PoolExhaustedError):
            event = self._local.put(topic, self._local.newest(topic) + 1, name, data, tag=tag)
            self._unsent.setdefault(topic, set()).add(event.id)
            self._unsure.add(topic)
            return event
        return self._local.put(topic, int(number), name, data, tag=tag)

    async def read(self, topic: str, after: int, limit: int) -> Page:
        """Return at most `limit` events of `topic` with an id above `after`, oldest first, if still kept."""
        try:
            newest, entries = await _READ(self._link, keys=[self._key(topic)], args=[after, limit])
        except (RedisError, PoolExhaustedError):
            page = await self._local.read(topic, after, limit)
            # What others published is out of sight, which is no reason to start over.
            return page if page.newest >= after else Page((), after)
        if self._local.newest(topic) > int(newest):  # published here while Redis was away
            return await self._local.read(topic, after, limit)
        return Page(tuple(_event(entry) for entry in entries), int(newest))

    async def latest(self, topic: str, names: Collection[str]) -> Progress | None:
        """Return the latest event of `topic` whose name is one of `names`."""
        here = self._local.find_latest(topic, names)
        wanted = list(names)
        try:
            found = await self._link.run(
                lambda client: cast("Any", client).execute_command("HMGET", self._keys(topic)[1], *wanted)
            )
        except (RedisError, PoolExhaustedError):
            return here
        kept = [] if here is None else [here]
        for name, entry in zip(wanted, found, strict=True):
            if entry is not None:
                number, _, data = _text(entry).partition(" ")
                kept.append(Progress(int(number), name, json.loads(data)))
        return max(kept, key=lambda event: event.id, default=None)

    def listen(
        self, topics: Container[str], notify: Callable[[str | None, Progress | None], None]
    ) -> Callable[[], None]:
        """Report the events of other processes over one connection, and return the function that ends it.

        Args:
            topics: the topics that have followers, at any time.
            notify: takes the topic, or None for all of them, and the event, or None where the log must be read.
        """
        listener = RedisListener(self._link, self._channel, topics, notify, self._runtime.clock)
        listener.start()
        return listener.stop

    async def _restore_all(self) -> None:
        """Compare the latest topics with Redis when it is back, before anything else is sent to it."""
        self._unsure.update(self._local.topics()[-_RESTORED_TOPICS:])
        for topic in list(self._unsure):
            await self._restore(topic)

    async def _restore(self, topic: str) -> None:
        unsent = self._unsent.get(topic, set())
        page = self._local.page(topic, 0, self._keep)
        newest, _ = await _READ(self._link, keys=[self._key(topic)], args=[2**53, 1])
        if page.events and (unsent or int(newest) < page.newest):
            events = {event.id: event for event in page.events}
            for name in self._local.names(topic):  # terminal events that the ring has dropped
                last = self._local.find_latest(topic, (name,))
                if last is not None:
                    events.setdefault(last.id, last)
            args: list[Any] = [self._keep, int(self._ttl * 1000), self._channel, topic]
            tags = self._local.tags(topic)
            for number in sorted(events):
                text = json.dumps(events[number].data, separators=(",", ":"))
                args += [number, events[number].name, text, tags.get(number, ""), int(number in unsent)]
            if await _RESTORE(self._link, keys=self._keys(topic), args=args):
                self._local.forget(topic)  # its numbers belong to other events now
        self._unsent.pop(topic, None)
        self._unsure.discard(topic)

    def _keys(self, topic: str) -> list[str | bytes]:
        return [self._key(topic), f"{self._key(topic)}:latest"]

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
