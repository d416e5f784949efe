"""Every connection of a pool: idle, lent or on its way back, and the queue of callers.

::

    take ──> idle? ──yes──> lent ──give_back──> reset ──offer──> first in the queue, else idle
              │ no                                  ^
              └──> queue <── offer ── test of an idle one, or a new connection (growth.py says when)

A caller waits for whatever comes first, not for a connection of its own: the reset of a returned connection, the
ping of one that was idle for long and every connect run in tasks of the pool. Stretches without an ``await`` keep the
order: a connection is never idle while a caller waits for one that could use it.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Coroutine
from contextvars import Context
from math import inf
from typing import TYPE_CHECKING, Any, Final

from prodkit.core.runtime import Runtime
from prodkit.postgres.connect import Connector, ServerFullError
from prodkit.postgres.events import ConnectionClosed, PoolAcquired, PoolReleased
from prodkit.postgres.growth import Growth

if TYPE_CHECKING:
    from prodkit.postgres.asyncpg_internals import GuardedConnection

__all__ = ["Inventory", "Waiter"]

_AT_ONCE: Final = 2
_LOOK_AFTER: Final = 0.001
_PING_AFTER: Final = 1.0
_PING_LIMIT: Final = 1.0
_RESET_LIMIT: Final = 5.0
_SUSPECT_LIMIT: Final = 0.25
_FULL_PAUSE: Final = 1.0
_SHORTEST_PAUSE: Final = 0.05


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


class Inventory:
    """The connections of one pool."""

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
        self._reset_limit = min(_RESET_LIMIT, max(_SUSPECT_LIMIT, connector.options.command_timeout))
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

    def begin(self) -> None:
        """Get ready for a start, which may be in another event loop, or another process, than the one before."""
        self.forget()
        self.refusal = None
        self._ceiling_until = -inf
        self._changed, self._asked = asyncio.Event(), asyncio.Event()

    # --- numbers ---

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

    def take(
        self, now: float, task: asyncio.Task[Any] | None, site: tuple[str, int] | None
    ) -> GuardedConnection | None:
        """Return a connection that can be used at once, or None: then :meth:`enter` the queue."""
        if self.queue or not self.lending:
            return None
        connection = self._usable(now)
        if connection is not None:
            self._lend(connection, now, 0.0, task, site)
        return connection

    def enter(self, waiter: Waiter) -> None:
        """Put a caller at the end of the queue and see that a connection comes for it."""
        self.queue[waiter] = None
        self._asked.set()
        self.feed()
        self.consider()

    def leave(self, waiter: Waiter) -> None:
        """Take a caller out of the queue; a connection that it was just given goes to the next one."""
        if self.queue.pop(waiter, self) is None:
            return
        future = waiter.future
        if future.done() and not future.cancelled() and future.exception() is None:
            connection = future.result()
            if connection in self.lent:
                self.lent.discard(connection)
                connection.holder = None
                self.offer(connection)

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

    def give_back(self, connection: GuardedConnection) -> None:
        """Take a connection from its borrower, who does not wait: its reset is a task of the pool."""
        if connection not in self.lent:
            return
        now = self.runtime.clock.monotonic()
        used = now - connection.taken
        self.lent.discard(connection)
        connection.holder = connection.handle = None
        connection.released()
        self.growth.returned(used, now)
        if self.runtime.events.listened(PoolReleased):
            self.runtime.events.emit(PoolReleased(pool=self.name, held=used))
        if connection.is_closed():
            self._left(connection, "lost")
        elif not self.growing:
            self.retire(connection, "closing")
        elif connection.generation != self.generation:
            self.retire(connection, "expired")
        elif now >= connection.ends:
            self.retire(connection, "lifetime")
        else:
            self.pending.add(connection)
            self._spawn(self._reset(connection))

    async def _reset(self, connection: GuardedConnection) -> None:
        try:
            await connection.clean(_SUSPECT_LIMIT if connection.guard.suspect else self._reset_limit)
        except BaseException as error:
            self.pending.discard(connection)
            self._left(connection, "unclean")
            if not isinstance(error, Exception):
                raise
        else:
            self.pending.discard(connection)
            connection.idle_since = self.runtime.clock.monotonic()
            if connection.generation == self.generation and self.growing:
                self.offer(connection)
            else:
                self.retire(connection, "expired" if self.growing else "closing")

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

    # --- growing ---

    def consider(self) -> None:
        """Open connections where the floor or the queue asks for them; look again later where it does not yet."""
        now = self.runtime.clock.monotonic()
        while self.growing and self.connecting < _AT_ONCE and now >= self._grow_after:
            total = self.size + self.connecting
            if total >= self.limit() or not (total < self.min_size or self._pays(now)):
                break
            self.connecting += 1
            grower = self._spawn(self._grow())
            self._growers.add(grower)
            grower.add_done_callback(self._growers.discard)
        if self.queue and self.growing and self._nudge is None:
            wait = max(self.growth.patience, self._grow_after - now)
            self._nudge = asyncio.get_running_loop().call_later(wait, self._nudged, context=Context())

    def _pays(self, now: float) -> bool:
        if not self.queue or not self.lending:
            return False
        first = next(iter(self.queue))
        return self.growth.pays(
            waiting=len(self.queue) - self.connecting,
            busy=len(self.lent) + len(self.pending),
            now=now,
            waited=now - first.since,
        )

    def _nudged(self) -> None:
        self._nudge = None
        if self.queue and self.idle and self.lending:
            connection = self._usable(self.runtime.clock.monotonic())
            if connection is not None:
                self.offer(connection)
        self.consider()

    async def _grow(self) -> None:
        clock = self.runtime.clock
        try:
            for pause in self.connector.pauses():
                if not self.growing or not (self.queue or self.size < self.min_size):
                    return
                generation, began = self.generation, clock.monotonic()
                try:
                    connection = await self.connector.open(others=self.size)
                except ServerFullError as error:
                    self.connector.report(error, pause)
                    if self.size:
                        self._ceiling = self.size
                        self._ceiling_until = clock.monotonic() + _FULL_PAUSE * (
                            1 + self.runtime.rng.random()
                        )
                        self._grow_after = self._ceiling_until
                        self._changed.set()
                        return
                except ConnectionError as error:
                    self.connector.report(error, pause)
                    self._changed.set()
                else:
                    self.refusal = None
                    self.growth.connected(clock.monotonic() - began)
                    self._joined(connection, generation)
                    return
                await self._pause(pause)
        except Exception as error:  # noqa: BLE001 - the server said no, or the caller's init= failed
            self._refused(error)
        finally:
            self.connecting -= 1
            if self.growing:
                self.consider()

    async def _pause(self, seconds: float) -> None:
        """Wait before the next attempt; a caller that comes later than after 50 ms does not wait for the rest."""
        await self.runtime.clock.sleep(min(seconds, _SHORTEST_PAUSE))
        self._asked.clear()
        try:
            async with asyncio.timeout(max(0.0, seconds - _SHORTEST_PAUSE)):
                await self._asked.wait()
        except TimeoutError:
            pass

    def _joined(self, connection: GuardedConnection, generation: int) -> None:
        connection.generation = generation
        connection.on_closed = self.closed
        if not self.growing:
            self.retire(connection, "closing")
        elif generation != self.generation:
            self.retire(connection, "expired")
        else:
            self.offer(connection)
        self._changed.set()

    def _refused(self, error: Exception) -> None:
        """A connect that no repetition can help: callers who have no other connection to wait for get the reason."""
        self.refusal = error
        self._grow_after = self.runtime.clock.monotonic() + _FULL_PAUSE
        if not self.size:
            self.fail_queue(error)
        self._changed.set()

    def fail_queue(self, error: Exception) -> None:
        """End every wait with `error`."""
        while self.queue:
            waiter, _ = self.queue.popitem(last=False)
            if not waiter.future.done():
                waiter.future.set_exception(error)

    # --- leaving ---

    def closed(self, connection: GuardedConnection) -> None:
        """Learn that a connection ended, from whatever cause."""
        if connection in self.idle:
            self.idle.remove(connection)
            self._left(connection, "lost")

    def retire(self, connection: GuardedConnection, reason: str) -> None:
        """Close a connection in a task."""
        connection.on_closed = None
        self._report_closed(connection, reason)
        self._spawn(_close(connection))
        self._changed.set()

    def _left(self, connection: GuardedConnection, reason: str) -> None:
        connection.on_closed = None
        connection.terminate()
        self._report_closed(connection, reason)
        self._changed.set()
        if self.growing:
            self.consider()

    def _report_closed(self, connection: GuardedConnection, reason: str) -> None:
        if self.runtime.events.listened(ConnectionClosed):
            age = self.runtime.clock.monotonic() - connection.born
            self.runtime.events.emit(ConnectionClosed(pool=self.name, reason=reason, age=age))

    async def changed(self) -> None:
        """Wait until something about the connections changes."""
        self._changed.clear()
        await self._changed.wait()

    def stop(self) -> None:
        """Refuse callers and open nothing more; lent connections stay with their borrowers."""
        self.lending = self.growing = False
        if self._nudge is not None:
            self._nudge.cancel()
            self._nudge = None
        for task in self._growers:
            task.cancel()
        while self.idle:
            self.retire(self.idle.pop(), "closing")

    async def drained(self) -> None:
        """Wait until every connection has come back and is closed."""
        while self.size or self._tasks:
            if self._tasks and not self.lent:
                await asyncio.wait(set(self._tasks))
            else:
                await self.changed()

    def cut(self) -> None:
        """Terminate what is left."""
        for task in self._tasks:
            task.cancel()
        for connection in (*self.lent, *self.pending, *self.idle):
            connection.on_closed = None
            connection.terminate()
        self.lent.clear()
        self.pending.clear()
        self.idle.clear()

    def forget(self) -> None:
        """Drop every record, without a word to the server."""
        self.lending = self.growing = False
        self.idle.clear()
        self.lent.clear()
        self.pending.clear()
        self.queue.clear()
        self._tasks.clear()
        self._growers.clear()
        self.connecting = self.testing = 0
        self._nudge = None
        self._grow_after = -inf

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
