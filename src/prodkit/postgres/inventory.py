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
from math import inf
from typing import TYPE_CHECKING, Any, Final

from prodkit.postgres.growing import Growing
from prodkit.postgres.stock import Waiter

if TYPE_CHECKING:
    from prodkit.postgres.asyncpg_internals import GuardedConnection

__all__ = ["Inventory"]

_RESET_LIMIT: Final = 5.0
_SUSPECT_LIMIT: Final = 0.25


class Inventory(Growing):
    """The connections of one pool, from the start to the end."""

    connecting: int
    growing: bool
    lending: bool
    refusal: Exception | None
    testing: int

    def begin(self) -> None:
        """Get ready for a start, which may be in another event loop, or another process, than the one before."""
        self.forget()
        self.refusal = None
        self._ceiling_until = -inf
        self._changed, self._asked = asyncio.Event(), asyncio.Event()

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

    def give_back(self, connection: GuardedConnection) -> None:
        """Take a connection from its borrower, who does not wait: its reset is a task of the pool."""
        if connection not in self.lent:
            return
        now = self.runtime.clock.monotonic()
        self.lent.discard(connection)
        connection.holder = connection.handle = None
        connection.released()
        self._report_released(connection, now)
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
        limit = min(_RESET_LIMIT, max(_SUSPECT_LIMIT, self.connector.options.command_timeout))
        try:
            await connection.clean(_SUSPECT_LIMIT if connection.guard.suspect else limit)
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

    # --- leaving ---

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
