"""Background work of a pool: keep idle connections alive, replace old ones, report long borrowers; and forks."""

from __future__ import annotations

import asyncio
import os
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from prodkit.postgres.checkout import Desk, where
from prodkit.postgres.events import ConnectionHeldLong, PoolOversized

if TYPE_CHECKING:
    from prodkit.postgres.asyncpg_internals import GuardedConnection

__all__ = ["Upkeep", "watch_forks"]

_SHORTEST: Final = 0.05
_LONGEST: Final = 1.0


class Upkeep:
    """The background task of one pool.

    Args:
        desk: the pool's desk.
        name: the pool's name, for events.
        keepalive: seconds after which an idle connection is pinged; None: never.
        idle_timeout: seconds after which an unused connection above the floor is closed; None: never.
        leak_threshold: seconds after which a borrower is reported; None: never.
        fleet: pools of this size that share the server.
        reserved_slots: connections of the server left to others.
    """

    def __init__(
        self,
        desk: Desk,
        *,
        name: str,
        keepalive: float | None,
        idle_timeout: float | None,
        leak_threshold: float | None,
        fleet: int,
        reserved_slots: int,
    ) -> None:
        self._desk = desk
        self._name = name
        self._keepalive = keepalive
        self._idle_timeout = idle_timeout
        self._leak_threshold = leak_threshold
        self._fleet = fleet
        self._reserved = reserved_slots
        given = [each for each in (keepalive, idle_timeout, leak_threshold) if each is not None]
        self._every = min(_LONGEST, max(_SHORTEST, min(given, default=_LONGEST) / 4))
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, and compare the fleet's size with the server's."""
        self._compare()
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"{self._name}-upkeep")

    async def stop(self) -> None:
        """End the task."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.wait((task,))

    async def _run(self) -> None:
        while True:
            await self._desk.runtime.clock.sleep(self._every)
            self._tend()

    def _tend(self) -> None:
        inventory = self._desk.inventory
        now = self._desk.runtime.clock.monotonic()
        for connection in list(inventory.idle):
            reason = self._reason_to_close(connection, now)
            if reason:
                inventory.idle.remove(connection)
                inventory.retire(connection, reason)
            elif self._keepalive is not None and now - connection.idle_since >= self._keepalive:
                inventory.idle.remove(connection)
                inventory.test(connection, kept=True)
        if self._leak_threshold is not None:
            for connection in inventory.lent:
                if not connection.reported and now - connection.taken >= self._leak_threshold:
                    connection.reported = True
                    self._report(connection, now - connection.taken)
        inventory.consider()

    def _reason_to_close(self, connection: GuardedConnection, now: float) -> str:
        inventory = self._desk.inventory
        if connection.is_closed():
            return "lost"
        if connection.generation != inventory.generation:
            return "expired"
        if now >= connection.ends:
            return "lifetime"
        unused = now - max(connection.taken, connection.born)
        spare = inventory.size > inventory.min_size
        if self._idle_timeout is not None and spare and unused >= self._idle_timeout:
            return "idle"
        return ""

    def _report(self, connection: GuardedConnection, held: float) -> None:
        events = self._desk.runtime.events
        if events.listened(ConnectionHeldLong):
            holder = connection.holder.get_name() if connection.holder is not None else ""
            events.emit(
                ConnectionHeldLong(pool=self._name, held=held, holder=holder, site=where(connection.site))
            )

    def _compare(self) -> None:
        slots = self._desk.inventory.connector.slots
        wanted = self._fleet * self._desk.inventory.max_size
        events = self._desk.runtime.events
        if slots is not None and wanted > slots - self._reserved and events.listened(PoolOversized):
            events.emit(
                PoolOversized(
                    pool=self._name,
                    max_size=self._desk.inventory.max_size,
                    fleet=self._fleet,
                    slots=slots,
                    reserved=self._reserved,
                )
            )


_DESKS: Final[weakref.WeakSet[Desk]] = weakref.WeakSet()
_INHERITED: Final[list[GuardedConnection]] = []


def watch_forks(desk: Desk) -> None:
    """Let a fork of this process leave the pool's sockets alone."""
    _DESKS.add(desk)


def _after_fork() -> None:
    """In the child: put ``/dev/null`` in place of every inherited socket, whose other half the parent still uses."""
    desks = [desk for desk in _DESKS if desk.state not in ("new", "closed")]
    if not desks:
        return
    nothing = os.open(os.devnull, os.O_RDWR)
    for desk in desks:
        inventory = desk.inventory
        for connection in (*inventory.idle, *inventory.lent, *inventory.pending):
            if (fd := connection.fileno()) >= 0:
                os.dup2(nothing, fd, inheritable=False)
            connection.on_closed = None
            _INHERITED.append(connection)  # their finalizers would speak to the server
        inventory.forget()
        desk.state = "forked"
    os.close(nothing)


os.register_at_fork(after_in_child=_after_fork)
