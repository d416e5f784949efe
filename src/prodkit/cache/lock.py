"""Lock: one holder among all processes, for as long as its lease is renewed.

::

    SET lock NX ─▶ held, token 7 ─▶ renewed by the watchdog, three times a lease ─▶ released
                     └─ renewal fails for a whole lease ─▶ the body is cancelled, LockLostError

A lease can end while its holder is paused, and the holder cannot know. So each acquisition has a number that only
grows: pass it on to the storage that the lock protects, and let the storage refuse smaller numbers ("fencing").
"""

from __future__ import annotations

import asyncio
import secrets
import weakref
from collections import OrderedDict
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

from prodkit.core.deadline import Deadline
from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.core.validate import Arguments
from prodkit.errors import DeadlineExceededError, LockHeldError, LockLostError, PoolExhaustedError, RedisError
from prodkit.redis.link import RedisLink
from prodkit.redis.scripts import Script

__all__ = ["Lock"]

_FIRST_LOOK: Final = 0.01
_LAST_LOOK: Final = 0.25

# KEYS: lock, number. ARGV: token, milliseconds. Returns the number, or minus the milliseconds after which it is free
# when it is not renewed. A key with PTTL 3 at 10 ms is gone at 14 ms: so a lease of 30 ms is a key of 29 ms.
_ACQUIRE: Final = Script("""
local life = math.max(1, ARGV[2] - 1)
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', life) then return redis.call('INCR', KEYS[2]) end
return -(math.max(0, redis.call('PTTL', KEYS[1])) + 1)
""")
_RENEW: Final = Script("""
if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('PEXPIRE', KEYS[1], math.max(1, ARGV[2] - 1))
end
return 0
""")
_RELEASE: Final = Script("""
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
""")


class _Local:
    """The lock of one name in this process, for a cache without Redis."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()


class _Numbers:
    """The last fencing number of each local lock. It outlives the lock: one made again goes on where it was.

    Beyond a number of names the oldest is forgotten; a name that is new then begins above all that were.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._last: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._forgotten = 0

    def next(self, name: tuple[str, str]) -> int:
        number = self._last.pop(name, self._forgotten) + 1
        self._last[name] = number
        if len(self._last) > self._most:
            self._forgotten = max(self._forgotten, self._last.popitem(last=False)[1])
        return number


_numbers: Final = _Numbers(10_000)
_locals: Final[weakref.WeakValueDictionary[tuple[int, str, str], _Local]] = weakref.WeakValueDictionary()


class Lock:
    """Mutual exclusion between processes.

    ::

        lock = cache.Lock(redis, "reindex")
        async with lock:
            await rebuild(fence=lock.token)

    Without a Redis (None, or a link that is not configured) it excludes the tasks of this process. While a configured
    Redis is away it cannot be acquired: RedisError.

    Args:
        redis: the link, or None.
        name: locks of one name and namespace exclude each other.
        namespace: the prefix of its keys in Redis.
        lease: seconds after which the lock of a dead process is free. The holder renews it three times in that time.
        wait: seconds to wait for it; None waits for the Deadline, 0 does not wait.
        runtime: clock and randomness; the default is the system's.
    """

    def __init__(
        self,
        redis: RedisLink | None,
        name: str,
        *,
        namespace: str = "lock",
        lease: float = 10.0,
        wait: float | None = None,
        runtime: Runtime = SYSTEM,
    ) -> None:
        check = Arguments("Lock")
        check.instance("redis", redis, RedisLink, "a RedisLink", optional=True)
        check.text("name", name)
        check.text("namespace", namespace)
        check.number("lease", lease, minimum=0.1, unit="seconds")
        check.seconds("wait", wait, optional=True, zero=True)
        check.done()
        self.name: str = name
        self.lease: float = lease
        self.token: int = 0
        self._link = redis if redis is not None and redis.configured else None
        self._wait = wait
        self._runtime = runtime
        self._namespace = namespace
        tag = f"{{~{namespace}:lock:{name}}}"
        self._keys = (tag, f"{tag}:n")
        self._secret = ""
        self._local: _Local | None = None
        self._watchdog: asyncio.Task[None] | None = None
        self._owner: asyncio.Task[object] | None = None
        self._lost = False

    @property
    def held(self) -> bool:
        """True while this object holds the lock, as far as can be known."""
        return self._owner is not None and not self._lost

    async def acquire(self, *, wait: float | None = None) -> int:
        """Acquire the lock and return its fencing token, a number that grows with each acquisition.

        Args:
            wait: seconds, instead of the lock's own.

        Raises:
            LockHeldError: it stayed with another holder for that long.
            DeadlineExceededError: the caller's Deadline passed first.
            RedisError: Redis is configured and away.
            RuntimeError: this object holds it already.
        """
        if self._owner is not None:
            raise RuntimeError(f"this Lock object holds {self.name!r} already: use one object per holder")
        if wait is not None:
            check = Arguments("Lock.acquire")
            check.seconds("wait", wait, zero=True)
            check.done()
        wait = self._wait if wait is None else wait
        if self._link is None:
            await self._acquire_local(wait)
        else:
            await self._acquire_shared(self._link, wait)
        self._owner = asyncio.current_task()
        self._lost = False
        return self.token

    async def release(self) -> None:
        """Release the lock; one that was lost is left to its new holder."""
        owner, self._owner = self._owner, None
        if owner is None:
            return
        if self._local is not None:
            local, self._local = self._local, None
            local.lock.release()
            return
        watchdog, self._watchdog = self._watchdog, None
        if watchdog is not None:
            watchdog.cancel()
        if self._link is not None and not self._lost:
            with suppress(RedisError, PoolExhaustedError, DeadlineExceededError):  # else the lease ends
                await _RELEASE(self._link, keys=[self._keys[0]], args=[self._secret])

    async def _acquire_local(self, wait: float | None) -> None:
        name = (id(asyncio.get_running_loop()), self._namespace, self.name)
        local = _locals.get(name)
        if local is None:
            local = _locals[name] = _Local()
        if wait == 0 and local.lock.locked():
            raise LockHeldError(f"lock {self.name!r} is held", retry_after=None)
        limit = Deadline.sooner(wait)
        try:
            async with asyncio.timeout(limit):
                await local.lock.acquire()
        except TimeoutError:
            raise self._late(wait, limit, None) from None
        self._local = local
        self.token = _numbers.next((self._namespace, self.name))

    async def _acquire_shared(self, link: RedisLink, wait: float | None) -> None:
        clock = self._runtime.clock
        limit = Deadline.sooner(wait)
        until = None if limit is None else clock.monotonic() + limit
        self._secret = secrets.token_hex(16)
        look = _FIRST_LOOK
        while True:
            sent = clock.monotonic()
            try:
                reply: int = await _ACQUIRE(
                    link, keys=self._keys, args=[self._secret, int(self.lease * 1000)]
                )
            except BaseException:
                # Whether it was acquired is unknown; only this call knows the secret, so it gives the lock back.
                task = asyncio.ensure_future(self._undo(link, self._secret))
                task.add_done_callback(lambda each: each.cancelled() or each.exception())
                raise
            if reply > 0:
                self.token = reply
                self._watchdog = asyncio.ensure_future(self._watch(link, sent, asyncio.current_task()))
                return
            left = -reply / 1000
            if until is not None and clock.monotonic() >= until:
                raise self._late(wait, limit, left)
            pause = min(look, left + 0.001) * (1 - 0.3 * self._runtime.rng.random())
            if until is not None:
                pause = min(pause, max(0.0, until - clock.monotonic()))
            await clock.sleep(pause)
            look = min(_LAST_LOOK, 2 * look)

    def _late(self, wait: float | None, limit: float | None, left: float | None) -> Exception:
        if wait is None or (limit is not None and limit < wait):
            return DeadlineExceededError(f"the deadline passed while waiting for lock {self.name!r}")
        return LockHeldError(f"lock {self.name!r} stayed held for {wait:g} s", retry_after=left)

    async def _undo(self, link: RedisLink, secret: str) -> None:
        with Deadline.detached(), suppress(RedisError, PoolExhaustedError):
            await _RELEASE(link, keys=[self._keys[0]], args=[secret])

    async def _watch(self, link: RedisLink, sent: float, owner: asyncio.Task[object] | None) -> None:
        """Renew the lease; when it is over, end the body that relies on it."""
        clock = self._runtime.clock
        ends = sent + self.lease
        with Deadline.detached():
            while True:
                await clock.sleep(min(self.lease / 3, max(0.0, ends - clock.monotonic())))
                began = clock.monotonic()
                try:
                    async with asyncio.timeout(max(0.001, ends - began)):
                        renewed = await _RENEW(
                            link, keys=[self._keys[0]], args=[self._secret, int(self.lease * 1000)]
                        )
                except (RedisError, PoolExhaustedError, TimeoutError):
                    if clock.monotonic() < ends:
                        await clock.sleep(min(0.1, self.lease / 10))
                        continue
                    renewed = 0
                if not renewed:
                    self._lost = True
                    if owner is not None and self._owner is owner:
                        owner.cancel()
                    return
                ends = began + self.lease

    async def __aenter__(self) -> Self:
        await self.acquire()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        lost, owner = self._lost, self._owner
        await self.release()
        if lost:
            if kind is asyncio.CancelledError and owner is not None:
                owner.uncancel()
            raise LockLostError(
                f"the lease of lock {self.name!r} ended before its holder was done"
            ) from error

    def __repr__(self) -> str:
        return f"Lock({self.name!r}, held={self.held}, token={self.token})"
