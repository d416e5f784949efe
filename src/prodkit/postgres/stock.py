"""The connections of a pool and the queue of callers: who gets which, and what becomes of one that leaves."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Coroutine
from contextvars import Context
from math import inf
from typing import TYPE_CHECKING, Any, Final

from prodkit.core.runtime import Runtime
from prodkit.postgres.connect import Connector
from prodkit.postgres.events import ConnectionClosed, PoolAcquired, PoolReleased
from prodkit.postgres.growth import Growth

if TYPE_CHECKING:
    from prodkit.postgres.asyncpg_internals import GuardedConnection

__all__ = ["Stock", "Waiter"]

_LOOK_AFTER: Final = 0.001
_PING_AFTER: Final = 1.0
_PING_LIMIT: Final = 1.0


class Waiter:
    """A caller in the queue."""

    __slots__ = ("future", "since", "site", "task")

    def __init__(
        self,
        future: asyncio.Future[GuardedConnection],
        since: float,
        task: asyncio.Task[Any] | None,
        site: tuple[str, int] | None,
    ) -> None:
        self.future: asyncio.Future[GuardedConnection] = future
        self.since: float = since
        self.task: asyncio.Task[Any] | None = task
        self.site: tuple[str, int] | None = site


class Stock:
    """The records of one pool: idle, lent, pending, and the queue."""

    def __init__(
        self,
        *,
        name: str,
        min_size: int,
        max_size: int,
        reserved_slots: int,
        connector: Connector,
        runtime: Runtime,
    ) -> None:
        self.name: str = name
        self.min_size: int = min_size
        self.max_size: int = max_size
        self._reserved = reserved_slots
        self.connector: Connector = connector
        self.runtime: Runtime = runtime
        self.growth: Growth = Growth()
        self.lending: bool = False
        """False before the start, while suspended and while closing: callers queue or are refused."""
        self.growing: bool = False
        self.generation: int = 0
        self.idle: list[GuardedConnection] = []
        self.lent: set[GuardedConnection] = set()
        self.pending: set[GuardedConnection] = set()
        """Connections that are being reset or tested."""
        self.queue: OrderedDict[Waiter, None] = OrderedDict()
        self.connecting: int = 0
        self.testing: int = 0
        self.acquired: int = 0
        self.waited: float = 0.0
        self.refusal: Exception | None = None
        """The reason why no retry of the latest connect can succeed; None after one that did."""
        self._ceiling: float = inf
        self._ceiling_until: float = -inf
        self._grow_after: float = -inf
        self._nudge: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._growers: set[asyncio.Task[None]] = set()
        self._changed: asyncio.Event = asyncio.Event()
        self._asked: asyncio.Event = asyncio.Event()

    @property
    def size(self) -> int:
        """Open connections."""
        return len(self.idle) + len(self.lent) + len(self.pending)

    def limit(self) -> int:
        """Return how many connections the pool may have now: ``max_size``, or what the server has been seen to give."""
        limit: float = self.max_size
        if self.connector.slots is not None:
            limit = min(limit, max(self.connector.slots - self._reserved, 1))
        if self.runtime.clock.monotonic() < self._ceiling_until:
            limit = min(limit, self._ceiling)
        return int(limit)

    # --- lending ---

    def feed(self) -> None:
        """Serve the queue from the idle connections; those that must be tested first are tested, one a caller."""
        now = self.runtime.clock.monotonic()
        while self.lending and self.idle and len(self.queue) > self.testing:
            connection = self._usable(now)
            if connection is not None:
                self.offer(connection)

    def _usable(self, now: float) -> GuardedConnection | None:
        """Pop the connection used last. None: there was none, or it was found dead, or is being tested."""
        while self.idle:
            connection = self.idle.pop()
            if connection.is_closed():
                self._left(connection, "lost")
            elif connection.generation != self.generation:
                self.retire(connection, "expired")
            elif now >= connection.ends:
                self.retire(connection, "lifetime")
            else:
                unused = now - connection.idle_since
                # Within a millisecond of a reply there is nothing to find; after a second a ping is worth its trip.
                if unused < _LOOK_AFTER or (unused < _PING_AFTER and not connection.has_unread()):
                    return connection
                self.test(connection)
                return None
        return None

    def offer(self, connection: GuardedConnection) -> None:
        """Give a clean connection to the first in the queue, or keep it."""
        now = self.runtime.clock.monotonic()
        if connection.is_closed():
            self._left(connection, "lost")
            return
        while self.queue and self.lending:
            waiter, _ = self.queue.popitem(last=False)
            if not waiter.future.done():
                self._lend(connection, now, now - waiter.since, waiter.task, waiter.site)
                waiter.future.set_result(connection)
                return
        self.idle.append(connection)
        self._changed.set()

    def _lend(
        self,
        connection: GuardedConnection,
        now: float,
        waited: float,
        task: asyncio.Task[Any] | None,
        site: tuple[str, int] | None,
    ) -> None:
        connection.taken = now
        connection.holder = task
        connection.site = site
        connection.reported = False
        self.lent.add(connection)
        self.acquired += 1
        self.waited += waited
        if self.runtime.events.listened(PoolAcquired):
            self.runtime.events.emit(PoolAcquired(pool=self.name, waited=waited))

    def test(self, connection: GuardedConnection, *, kept: bool = False) -> None:
        """Ping a connection in a task. With `kept` it goes to the end of the line again, as least recently used."""
        self.pending.add(connection)
        self.testing += 1
        self._spawn(self._ping(connection, kept))

    async def _ping(self, connection: GuardedConnection, kept: bool) -> None:
        try:
            await connection.guard.wire("select 1", _PING_LIMIT)
        except BaseException as error:
            self.testing -= 1
            self.pending.discard(connection)
            self._left(connection, "lost")
            self.feed()
            if not isinstance(error, Exception):
                raise
        else:
            self.testing -= 1
            self.pending.discard(connection)
            connection.idle_since = self.runtime.clock.monotonic()
            if not self.growing:
                self.retire(connection, "closing")
            elif kept and not self.queue:
                self.idle.insert(0, connection)
                self._changed.set()
            else:
                self.offer(connection)

    def fail_queue(self, error: Exception) -> None:
        """End every wait with `error`."""
        while self.queue:
            waiter, _ = self.queue.popitem(last=False)
            if not waiter.future.done():
                waiter.future.set_exception(error)

    # --- leaving ---

    def closed(self, connection: GuardedConnection) -> None:
        """Learn that a connection ended, from whatever cause: its slot is free, also while its handle is still held."""
        if connection in self.idle:
            self.idle.remove(connection)
            self._left(connection, "lost")
        elif connection in self.lent:
            self.lent.discard(connection)
            connection.holder = None
            self._report_released(connection, self.runtime.clock.monotonic())
            self._gone(connection, "lost")

    def retire(self, connection: GuardedConnection, reason: str) -> None:
        """Close a connection in a task."""
        connection.on_closed = None
        self._report_closed(connection, reason)
        self._spawn(_close(connection))
        self._changed.set()

    def _left(self, connection: GuardedConnection, reason: str) -> None:
        connection.on_closed = None
        connection.terminate()
        self._gone(connection, reason)

    def _gone(self, connection: GuardedConnection, reason: str) -> None:
        self._report_closed(connection, reason)
        self._changed.set()
        if self.growing:
            self.consider()

    def _report_released(self, connection: GuardedConnection, now: float) -> None:
        used = now - connection.taken
        self.growth.returned(used, now)
        if self.runtime.events.listened(PoolReleased):
            self.runtime.events.emit(PoolReleased(pool=self.name, held=used))

    def _report_closed(self, connection: GuardedConnection, reason: str) -> None:
        if self.runtime.events.listened(ConnectionClosed):
            age = self.runtime.clock.monotonic() - connection.born
            self.runtime.events.emit(ConnectionClosed(pool=self.name, reason=reason, age=age))

    async def changed(self) -> None:
        """Wait until something about the connections changes."""
        self._changed.clear()
        await self._changed.wait()

    def consider(self) -> None:
        """Open connections where they are needed."""
        raise NotImplementedError

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start a task of the pool: without the caller's Deadline, and held until it is done."""
        task = asyncio.get_running_loop().create_task(work, context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


async def _close(connection: GuardedConnection) -> None:
    try:
        await connection.close(timeout=1.0)
    except (Exception, asyncio.CancelledError):  # noqa: BLE001 - it is leaving either way
        connection.terminate()
