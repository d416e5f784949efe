"""Counter: a number that all processes increment, and that keeps counting while Redis is away."""

from __future__ import annotations

import asyncio
import contextlib
import math
from typing import Final

from prodkit.cache.entry import FOREVER, Ttl, seconds
from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.core.validate import Arguments
from prodkit.errors import PoolExhaustedError, ProdkitError, RedisError
from prodkit.redis.link import RedisLink
from prodkit.redis.scripts import Script

__all__ = ["Counter", "counter"]

_MOST: Final = 2**53  # the largest number that a script returns exactly

# KEYS: counter. ARGV: by, milliseconds or 0, and 1 to begin at 0. Returns the number.
_ADD: Final = Script("""
if ARGV[3] == '1' then redis.call('DEL', KEYS[1]) end
local now = redis.call('INCRBY', KEYS[1], ARGV[1])
if tonumber(ARGV[2]) > 0 and redis.call('PTTL', KEYS[1]) < 0 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return now
""")


class Counter:
    """A number in Redis, or in this process.

    ::

        views = cache.counter(redis, "views", ttl=86400)
        await views.increment()

    Increments during an outage are added to Redis when it is back, with the next call or by itself. A call that timed
    out may count twice: its effect is unknown.

    Args:
        redis: the link, or None for a counter of this process.
        name: counters of one name and namespace are one.
        namespace: the prefix of its key in Redis.
        ttl: seconds from its first increment until it begins again; None or FOREVER for never.
        runtime: clock; the default is the system's.
    """

    def __init__(
        self,
        redis: RedisLink | None,
        name: str,
        *,
        namespace: str = "counter",
        ttl: Ttl | None = None,
        runtime: Runtime = SYSTEM,
    ) -> None:
        check = Arguments("Counter")
        check.instance("redis", redis, RedisLink, "a RedisLink", optional=True)
        check.text("name", name)
        check.text("namespace", namespace)
        if ttl is not None:
            check.attempt(lambda: seconds("ttl", ttl))
        check.done()
        self.name: str = name
        self._link = redis if redis is not None and redis.configured else None
        self._key = f"~{namespace}:c:{name}"
        self._ttl = 0.0 if ttl is None or ttl is FOREVER else seconds("ttl", ttl)
        self._now = runtime.clock.monotonic
        self._known = 0  # the number when Redis was last asked, or the number in memory
        self._unsent = 0
        self._reset = False
        self._ends = 0.0
        self._sending: asyncio.Lock | None = None
        if self._link is not None:
            self._link.on_up(self._catch_up)

    async def increment(self, by: int = 1) -> int:
        """Add `by` and return the number.

        Args:
            by: an integer; a negative one decrements.
        """
        if isinstance(by, bool) or not isinstance(by, int):
            raise TypeError(f"by must be an int, got {by!r}")
        if abs(by) > _MOST:
            raise ValueError(f"by must be at most 2**53, got {by!r}")
        self._expire()
        self._unsent += by
        return await self._send()

    async def decrement(self, by: int = 1) -> int:
        """Subtract `by` and return the number.

        Args:
            by: an integer.
        """
        return await self.increment(-by)

    async def value(self) -> int:
        """Return the number; while Redis is away, the last one seen and what this process has added since."""
        self._expire()
        if self._link is not None and self._link.up and not self._unsent and not self._reset:
            with contextlib.suppress(RedisError, PoolExhaustedError):
                self._known = int(await self._link.execute("GET", self._key, key=self._key) or 0)
            return self._known + self._unsent
        return await self._send()

    async def reset(self) -> None:
        """Begin at 0."""
        self._known, self._unsent, self._reset, self._ends = 0, 0, True, 0.0
        await self._send()

    def _expire(self) -> None:
        now = self._now()
        if self._ttl and self._link is None and now >= self._ends:
            self._known, self._ends = 0, now + self._ttl

    async def _send(self) -> int:
        if self._link is None:
            self._known, self._unsent, self._reset = self._known + self._unsent, 0, False
            return self._known
        if self._link.up:
            with contextlib.suppress(RedisError, PoolExhaustedError):
                await self._catch_up()
        return self._known + self._unsent

    async def _catch_up(self) -> None:
        assert self._link is not None
        unsent, reset = self._unsent, self._reset
        if not unsent and not reset:
            return
        self._unsent, self._reset = 0, False
        try:
            args = [unsent, math.ceil(self._ttl * 1000), int(reset)]
            self._known = int(await _ADD(self._link, keys=[self._key], args=args))
        except BaseException as error:
            if not isinstance(error, Exception) or isinstance(error, ProdkitError):
                self._unsent += unsent
                self._reset = self._reset or reset
            # else Redis refuses this very increment (no number there, too large): again, it would refuse all others
            raise

    def __repr__(self) -> str:
        return f"Counter({self.name!r}, unsent={self._unsent})"


def counter(
    redis: RedisLink | None,
    name: str,
    *,
    namespace: str = "counter",
    ttl: Ttl | None = None,
    runtime: Runtime = SYSTEM,
) -> Counter:
    """Return a :class:`Counter`.

    Args:
        redis: the link, or None for a counter of this process.
        name: counters of one name and namespace are one.
        namespace: the prefix of its key in Redis.
        ttl: seconds from its first increment until it begins again; None for never.
        runtime: clock; the default is the system's.
    """
    return Counter(redis, name, namespace=namespace, ttl=ttl, runtime=runtime)
