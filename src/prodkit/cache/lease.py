"""One load for all processes: a lease on the key, renewed by its holder, awaited by the others.

::

    process 1   SET lease NX ─▶ load ─▶ store, if the lease is still ours ─▶ release
    process 2   lease taken ─▶ look for the value, 20 ms, 40 ms … 200 ms ─▶ found
    process 1 is killed: the lease expires within 2 s, and exactly one of the others takes it
"""

from __future__ import annotations

import asyncio
import secrets
from contextlib import suppress
from typing import Final

from prodkit.core.clock import Clock
from prodkit.errors import PoolExhaustedError, RedisError
from prodkit.redis.link import RedisLink
from prodkit.redis.scripts import Script

__all__ = ["Lease"]

_LIFE: Final = 1.2
_RENEWALS: Final = (
    4  # in that time: a holder may stall for three quarters of it, a dead one is replaced after all of it
)

# KEYS: lease. ARGV: token, milliseconds.
_RENEW: Final = Script("""
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 0
""")
_RELEASE: Final = Script("""
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
""")


class Lease:
    """The right to load one key, for this process.

    Args:
        link: the link to Redis.
        name: of the lease in Redis.
        clock: for the renewals.
    """

    def __init__(self, link: RedisLink, name: str, clock: Clock) -> None:
        self._link = link
        self._name = name
        self._clock = clock
        self._watchdog: asyncio.Task[None] | None = None
        self.token: str = secrets.token_hex(8)

    async def acquire(self) -> bool:
        """Take the lease if it is free, and renew it from then on; return whether it was free."""
        reply = await self._link.execute(
            "SET", self._name, self.token, "NX", "PX", int(_LIFE * 1000), key=self._name
        )
        if reply is None:
            return False
        self._watchdog = asyncio.ensure_future(self._renew())
        return True

    async def release(self) -> None:
        """Give the lease back, unless another process has it already."""
        if self._watchdog is not None:
            self._watchdog.cancel()
            with suppress(RedisError, PoolExhaustedError):  # else it expires
                await _RELEASE(self._link, keys=[self._name], args=[self.token])

    async def _renew(self) -> None:
        while True:
            await self._clock.sleep(_LIFE / _RENEWALS)
            try:
                if not await _RENEW(self._link, keys=[self._name], args=[self.token, int(_LIFE * 1000)]):
                    return
            except (RedisError, PoolExhaustedError):
                continue  # for as long as the lease lasts another attempt may succeed
