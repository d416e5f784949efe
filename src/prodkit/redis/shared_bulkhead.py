"""SharedBulkhead: bound the calls in flight of all processes together, through Redis.

::

    call ─▶ one script: a slot is free and no one waits longer ─▶ the call runs, its slot is renewed every lease / 3
              └─ none is free: this process queues; its first waiter asks again after 20 ms … 200 ms, and at once when
                 a call of this process ends
    Redis away ─▶ the share of this process alone       a process dies ─▶ its slots are free after `lease`
"""

from __future__ import annotations

import asyncio
import itertools
import math
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, suppress
from typing import Any, Final

from prodkit.core.check import CheckResult
from prodkit.core.deadline import Deadline
from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.core.validate import Arguments
from prodkit.errors import BulkheadFullError, DeadlineExceededError, PoolExhaustedError, RedisError
from prodkit.policies.base import AsyncFn, Policy, StreamFn
from prodkit.policies.block import Block, Scope
from prodkit.policies.deadline_guard import bounded, deadline_for, within_deadline
from prodkit.policies.events import BulkheadRejected
from prodkit.policies.queueing import Refusal
from prodkit.redis.link import RedisLink
from prodkit.redis.scripts import Script

__all__ = ["SharedBulkhead"]

_FIRST_LOOK: Final = 0.02
_LAST_LOOK: Final = 0.2
_PAUSE: Final = 0.1
_MOST: Final = 1000
_WAITING: Final = 1000  # milliseconds after which a process that asks no more has left the queue

_TIME: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""
# KEYS: slots by their end, queue by the time of asking, queue by the end of its liveness. ARGV: limit, slot, lease,
# milliseconds to stay in the queue or 0. Returns 1 when the slot was taken.
_TAKE: Final = Script(
    _TIME
    + """
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now)) do
  redis.call('ZREM', KEYS[2], gone)
  redis.call('ZREM', KEYS[3], gone)
end
local free = tonumber(ARGV[1]) - redis.call('ZCARD', KEYS[1])
local before = redis.call('ZRANK', KEYS[2], ARGV[2]) or redis.call('ZCARD', KEYS[2])
if before < free then
  redis.call('ZADD', KEYS[1], now + ARGV[3], ARGV[2])
  redis.call('ZREM', KEYS[2], ARGV[2])
  redis.call('ZREM', KEYS[3], ARGV[2])
  redis.call('PEXPIRE', KEYS[1], 2 * ARGV[3])
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
_RENEW: Final = Script(
    _TIME
    + """
for i = 2, #ARGV do redis.call('ZADD', KEYS[1], now + ARGV[1], ARGV[i]) end
redis.call('PEXPIRE', KEYS[1], 2 * ARGV[1])
"""
)
# KEYS: as of _TAKE. ARGV: slots.
_RELEASE: Final = Script("""
for i = 1, #KEYS do redis.call('ZREM', KEYS[i], unpack(ARGV)) end
""")


class SharedBulkhead(Policy):
    """Run at most `limit` calls at once in all processes that share the Redis; further calls queue.

    ::

        perplexity = SharedBulkhead(redis, 8, name="perplexity", replicas=4)
        facts = await perplexity.run(research, topic)

    Bulkheads of one name and `namespace` share their slots. Callers of one process are served in order; processes in
    the order in which their first waiter asked. While Redis is away each process runs ``ceil(limit / replicas)`` calls
    at once. A call queues no longer than the caller's Deadline. Async calls only.

    Args:
        redis: the link; one without a Redis leaves each process its share.
        limit: calls in flight in all processes together.
        name: of the dependency, in errors, events and Redis keys.
        namespace: the prefix of its keys in Redis.
        replicas: processes that share the limit, for the time without Redis.
        max_queue: calls of this process that may wait; 0 refuses at once.
        queue_timeout: seconds that a call may wait; None leaves only the deadline.
        lease: seconds after which the slots of a dead process are free. A process that stalls for longer may let the
            others exceed the limit until it runs again.
        runtime: clock and events; the default is the system's.

    Raises:
        BulkheadFullError: the call was not started.
    """

    rank = 50

    def __init__(
        self,
        redis: RedisLink,
        limit: int,
        *,
        name: str = "bulkhead",
        namespace: str = "bulkhead",
        replicas: int = 1,
        max_queue: int = 100,
        queue_timeout: float | None = None,
        lease: float = 5.0,
        runtime: Runtime = SYSTEM,
    ) -> None:
        check = Arguments("SharedBulkhead")
        check.instance("redis", redis, RedisLink, "a RedisLink")
        check.integer("limit", limit, minimum=1)
        check.text("name", name)
        check.text("namespace", namespace)
        check.integer("replicas", replicas, minimum=1)
        check.integer("max_queue", max_queue, minimum=0)
        check.seconds("queue_timeout", queue_timeout, optional=True, zero=True)
        check.seconds("lease", lease)
        check.done()
        self.name: str = name
        self.runtime = runtime
        self.limit: int = limit
        self.queue_timeout: float | None = queue_timeout
        self._link = redis
        self._share = -(-limit // replicas)
        self._max_queue = max_queue
        self._lease_ms = max(30, int(lease * 1000))
        tag = f"{{{namespace}:{name}}}"
        self._keys = (f"{tag}:slots", f"{tag}:queue", f"{tag}:waiting")
        self._me = secrets.token_hex(8)
        self._numbers = itertools.count()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._begin()
        self._off: Callable[[], None] = redis.on_up(self._renew)

    def _begin(self) -> None:
        self._held: set[str] = set()
        self._waiting = 0
        self._turn = asyncio.Lock()
        self._freed = asyncio.Event()
        self._to_release: list[str] = []
        self._tasks: dict[str, asyncio.Task[None]] = {}

    @property
    def inflight(self) -> int:
        """Calls of this process that hold a slot."""
        return len(self._held)

    @property
    def waiting(self) -> int:
        """Calls of this process in the queue."""
        return self._waiting

    # --- guarding ---------------------------------------------------------------------------------------------------

    def wrap(self, fn: AsyncFn) -> AsyncFn:
        """Return the guarded form of the async function `fn`."""
        deadline = deadline_for(fn)

        async def bulkhead(*args: Any, **kwargs: Any) -> Any:
            slot = await self._take()
            try:
                if deadline() == math.inf:
                    return await fn(*args, **kwargs)
                return await within_deadline(fn, args, kwargs)
            finally:
                self._leave(slot)

        return bounded(bulkhead)

    def wrap_stream(self, fn: StreamFn) -> StreamFn:
        """Return the guarded form of the async generator function `fn`; it holds its slot until its end."""

        async def bulkhead(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            slot = await self._take()
            try:
                async with aclosing(fn(*args, **kwargs)) as items:  # type: ignore[type-var]
                    async for item in items:
                        yield item
            finally:
                self._leave(slot)

        return bulkhead

    def scope(self) -> Scope:
        """Return a guard for one block."""
        return _SharedScope(self)

    def hold(self) -> Block:
        """Return a guard that holds a slot for one block, for work that is not one call.

        Raises:
            BulkheadFullError: on entering, if no slot becomes free in time.
        """
        return Block(_SharedScope(self))

    # --- slots ------------------------------------------------------------------------------------------------------

    async def _take(self) -> str:
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop = loop
            self._begin()
        slot = f"{self._me}:{next(self._numbers)}"
        try:
            if self._waiting or not await self._ask(slot):
                await self._queue(slot)
        except BaseException:
            self._leave(slot)  # Redis may have given it
            raise
        return slot

    async def _queue(self, slot: str) -> None:
        if self._waiting >= self._max_queue:
            raise self._refused("full")
        latest = Deadline.instant()
        if self.queue_timeout is not None:
            latest = min(latest, asyncio.get_running_loop().time() + self.queue_timeout)
        self._waiting += 1
        scope = asyncio.timeout_at(None if latest == math.inf else latest)
        try:
            async with scope, self._turn:  # the first waiter asks for its process
                look = _FIRST_LOOK
                while True:
                    self._freed.clear()
                    if await self._ask(slot):
                        return
                    await self._pause(look * (1 - 0.3 * self.runtime.rng.random()))
                    look = min(_LAST_LOOK, 2 * look)
        except (TimeoutError, DeadlineExceededError) as error:
            if isinstance(error, DeadlineExceededError) or scope.expired():
                raise self._refused("late") from None
            raise
        finally:
            self._waiting -= 1

    async def _pause(self, seconds: float) -> None:
        """Wait, or until a call of this process ends."""
        timer = asyncio.get_running_loop().call_later(seconds, self._freed.set)
        try:
            await self._freed.wait()
        finally:
            timer.cancel()

    async def _ask(self, slot: str) -> bool:
        if self._link.up:
            args: list[str | int] = [self.limit, slot, self._lease_ms, _WAITING if self._max_queue else 0]
            try:
                taken = await _TAKE(self._link, keys=self._keys, args=args)
            except (RedisError, PoolExhaustedError):
                pass
            else:
                if taken:
                    self._hold(slot)
                return bool(taken)
        if len(self._held) >= self._share:
            return False
        self._hold(slot)
        return True

    def _hold(self, slot: str) -> None:
        self._held.add(slot)
        self._background("renew", self._keep_renewing)

    def _leave(self, slot: str) -> None:
        self._held.discard(slot)
        self._freed.set()
        if self._link.configured:
            self._to_release.append(slot)
            self._background("release", self._release)

    def _background(self, what: str, work: Callable[[], Any]) -> None:
        task = self._tasks.get(what)
        if task is None or task.done():
            with Deadline.detached():
                self._tasks[what] = asyncio.ensure_future(work())

    async def _release(self) -> None:
        while self._to_release:
            if not self._link.up:  # those of a long outage have ended with their lease
                del self._to_release[:-_MOST]
                await self.runtime.clock.sleep(_PAUSE)
                continue
            slots, self._to_release = self._to_release, []
            with suppress(RedisError, PoolExhaustedError):  # they end with their lease
                await _RELEASE(self._link, keys=self._keys, args=slots)

    async def _keep_renewing(self) -> None:
        while self._held:
            await self.runtime.clock.sleep(self._lease_ms / 3000)
            if self._link.up:
                with suppress(RedisError, PoolExhaustedError):  # the lease outlasts three attempts
                    await self._renew()

    async def _renew(self) -> None:
        """Tell Redis which calls run; after an outage before other callers use it."""
        if self._held:
            await _RENEW(self._link, keys=self._keys[:1], args=[self._lease_ms, *self._held])

    def _refused(self, reason: Refusal) -> BulkheadFullError:
        if self.runtime.events.listened(BulkheadRejected):
            self.runtime.events.emit(
                BulkheadRejected(
                    bulkhead=self.name, reason=reason, inflight=len(self._held), waiting=self._waiting
                )
            )
        why = "its queue is full" if reason == "full" else "no slot became free in time"
        return BulkheadFullError(
            f"{self.name} allows {self.limit} calls in all processes and {why}: the call was not started",
            bulkhead=self.name,
        )

    # --- lifespan ---------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Nothing to open: the link is used as it is."""

    async def aclose(self) -> None:
        """Release what has ended, and stop renewing."""
        self._off()
        renewing, releasing = self._tasks.pop("renew", None), self._tasks.pop("release", None)
        if renewing is not None:
            renewing.cancel()
        if releasing is not None and not self._link.up:
            releasing.cancel()
        await asyncio.gather(*(each for each in (renewing, releasing) if each), return_exceptions=True)

    async def check(self) -> CheckResult:
        """Report degraded while this process has only its own share."""
        details: dict[str, object] = {"inflight": self.inflight, "waiting": self.waiting, "limit": self.limit}
        if not self._link.configured:
            return CheckResult("up", f"not configured: {self._share} calls at once in this process", details)
        if not self._link.up:
            return CheckResult(
                "degraded", f"Redis is away: {self._share} calls at once in this process", details
            )
        return CheckResult("up", "", details)

    def __repr__(self) -> str:
        return f"SharedBulkhead({self._link.address!r}, {self.limit}, name={self.name!r}, inflight={self.inflight})"


class _SharedScope(Scope):
    __slots__ = ("_bulkhead", "_slot")

    def __init__(self, bulkhead: SharedBulkhead) -> None:
        self._bulkhead = bulkhead
        self._slot = ""

    async def enter(self) -> None:
        self._slot = await self._bulkhead._take()

    def leave(self, error: BaseException | None) -> None:
        self._bulkhead._leave(self._slot)
