"""SharedBulkhead: bound the calls in flight of all processes together, through Redis.

::

    call ─▶ one script: a slot is free and no one waits longer ─▶ the call runs, its slot is renewed every lease / 3
              └─ none is free: this process queues; its first waiter is woken when it is next (shared_slots.py), and
                 asks by itself after 50 ms … 400 ms
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
from prodkit.redis.shared_slots import RELEASE, RENEW, TAKE

__all__ = ["SharedBulkhead"]

_FIRST_LOOK: Final = 0.05
_LAST_LOOK: Final = 0.4
_LISTEN: Final = 0.5  # seconds that one blocking command waits to be woken
_PAUSE: Final = 0.1
_MOST: Final = 1000
_WAITING: Final = 1000  # milliseconds after which a process that asks no more has left the queue


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
        self._wake = f"{tag}:wake:"
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
        self._background("listen", self._listen)
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
        """Wait, or until a slot is free for this process."""
        timer = asyncio.get_running_loop().call_later(seconds, self._freed.set)
        try:
            await self._freed.wait()
        finally:
            timer.cancel()

    async def _ask(self, slot: str) -> bool:
        if self._link.up:
            queueing = _WAITING if self._max_queue else 0
            args: list[str | int] = [self.limit, slot, self._lease_ms, queueing, self._wake]
            try:
                taken = await TAKE(self._link, keys=self._keys, args=args)
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
        if not self._link.up:
            self._freed.set()  # else Redis says who is next
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
                await RELEASE(self._link, keys=self._keys, args=[self._wake, *slots])

    async def _listen(self) -> None:
        """Wake the first waiter when Redis says that it is next."""
        name = self._wake + self._me
        while self._waiting and self._link.configured:
            if not self._link.up:
                await self.runtime.clock.sleep(_PAUSE)
                continue
            try:
                woken = await self._link.run(
                    lambda client: client.blpop([name], timeout=_LISTEN), timeout=_LISTEN + self._link.timeout
                )
            except (RedisError, PoolExhaustedError):  # then it asks by itself
                await self.runtime.clock.sleep(_PAUSE)
            else:
                if woken is not None:
                    self._freed.set()

    async def _keep_renewing(self) -> None:
        while self._held:
            await self.runtime.clock.sleep(self._lease_ms / 3000)
            if self._link.up:
                with suppress(RedisError, PoolExhaustedError):  # the lease outlasts three attempts
                    await self._renew()

    async def _renew(self) -> None:
        """Tell Redis which calls run; after an outage before other callers use it."""
        if self._held:
            await RENEW(self._link, keys=self._keys[:1], args=[self._lease_ms, *self._held])

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
        tasks, self._tasks = self._tasks, {}
        for what, task in tasks.items():
            if what != "release" or not self._link.up:
                task.cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)

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
