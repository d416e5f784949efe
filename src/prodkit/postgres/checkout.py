"""Borrow a connection: at once or in turn, within the limit, with an error that says what stood in the way."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Generator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from prodkit.core.deadline import Deadline
from prodkit.core.runtime import Runtime
from prodkit.errors import (
    DatabaseError,
    DeadlineExceededError,
    DrainingError,
    PoolExhaustedError,
    ProdkitError,
)
from prodkit.postgres.events import ConnectionReclaimed, PoolExhausted, PoolNested, PoolWaitCancelled
from prodkit.postgres.inventory import Inventory
from prodkit.postgres.stats import PoolStats
from prodkit.postgres.stock import Waiter

if TYPE_CHECKING:
    from asyncpg import Record
    from asyncpg.pool import PoolConnectionProxy

    from prodkit.postgres.asyncpg_internals import GuardedConnection, PooledConnection

    Connection: TypeAlias = PoolConnectionProxy[Record]

__all__ = ["Checkout", "Desk", "Site", "State", "misused", "where"]

Site: TypeAlias = tuple[str, int]
State: TypeAlias = Literal["new", "starting", "running", "suspended", "closing", "closed", "forked"]

_HERE = __name__.rpartition(".")[0] + "."


def where(site: Site | None) -> str:
    """Write a line of code as ``file.py:12``; empty when it is not known."""
    return f"{site[0]}:{site[1]}" if site is not None else ""


def misused(message: str) -> RuntimeError:
    """Return the error of a pool that is used in the wrong state; with asyncpg it is its ``InterfaceError`` too."""
    try:
        from prodkit.postgres.misuse import PoolStateError
    except ModuleNotFoundError:
        return RuntimeError(message)
    return PoolStateError(message)


def _caller() -> Site | None:
    """The line outside this package that is running."""
    frame: Any = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__", "").startswith(_HERE):
        frame = frame.f_back
    return None if frame is None else (frame.f_code.co_filename, frame.f_lineno)


class Desk:
    """Lends the connections of an inventory, and counts."""

    def __init__(self, inventory: Inventory, *, name: str, timeout: float, runtime: Runtime) -> None:
        self.inventory: Inventory = inventory
        self._name = name
        self._timeout = timeout
        self.runtime: Runtime = runtime
        self.state: State = "new"
        self.loop: asyncio.AbstractEventLoop | None = None
        self.exhausted: int = 0
        self.cancelled: int = 0
        self.reclaimed: int = 0

    async def take(self, *, timeout: float | None = None, site: Site | None = None) -> GuardedConnection:
        """Return a clean connection that answers.

        Raises:
            PoolExhaustedError: none became free in time, or waiting can never end.
            DatabaseError: the server could not be reached, or refuses us.
            DeadlineExceededError: the deadline came first.
            DrainingError: the pool is closing.
        """
        if self.state not in ("running", "suspended"):
            raise self._not_running()
        now = self.runtime.clock.monotonic()
        if Deadline.instant() <= now:
            raise DeadlineExceededError("the deadline has passed; no connection was taken")
        task = asyncio.current_task()
        connection = self.inventory.take(now, task, site)
        if connection is not None:
            return connection
        return await self._wait(now, self._timeout if timeout is None else timeout, task, site)

    async def _wait(
        self, began: float, timeout: float, task: asyncio.Task[Any] | None, site: Site | None
    ) -> GuardedConnection:
        budget = Deadline.sooner(timeout)
        assert budget is not None
        loop = asyncio.get_running_loop()
        waiter = Waiter(loop.create_future(), began, task, site)
        self.inventory.enter(waiter)
        timer = loop.call_later(budget, _expire, waiter)
        try:
            self._refuse_deadlock(waiter)
            return await waiter.future
        except TimeoutError:
            self.inventory.leave(waiter)
            raise self._gave_up(self.runtime.clock.monotonic() - began, timeout) from None
        except (DatabaseError, DrainingError) as error:
            raise type(error)(str(error)) from error.__cause__  # each caller gets an error of its own
        except BaseException as error:
            self.inventory.leave(waiter)
            if isinstance(error, asyncio.CancelledError):
                self.cancelled += 1
                if self.runtime.events.listened(PoolWaitCancelled):
                    waited = self.runtime.clock.monotonic() - began
                    self.runtime.events.emit(PoolWaitCancelled(pool=self._name, waited=waited))
            raise
        finally:
            timer.cancel()

    def _refuse_deadlock(self, waiter: Waiter) -> None:
        """Report a wait by a task that holds a connection, and refuse one that closes a circle.

        When every connection is lent to a task that waits for another one, nothing can come back::

            max_size 2:   task A holds 1, waits     task B holds 2, asks   -> B is refused, A gets 2
        """
        inventory = self.inventory
        task = waiter.task
        own = [each for each in inventory.lent if each.holder is task] if task is not None else []
        if not own or waiter.future.done():
            return
        if self.runtime.events.listened(PoolNested):
            self.runtime.events.emit(
                PoolNested(pool=self._name, holder=task.get_name() if task else "", site=where(own[0].site))
            )
        stuck = {each.task for each in inventory.queue}
        full = len(inventory.lent) >= inventory.max_size
        if full and all(each.holder in stuck and not each.is_dropped for each in inventory.lent):
            inventory.leave(waiter)
            raise self._exhausted(0.0, "every connection is held by a task that waits for another one")

    def give_back(self, connection: GuardedConnection) -> None:
        """Take a connection back; its borrower does not wait for the reset."""
        self.inventory.give_back(connection)

    def drop(self, connection: GuardedConnection, taken: float) -> None:
        """Take back a connection whose handle was collected as garbage. May run in any thread."""
        if self.loop is not None and not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self._reclaim, connection, taken)

    def _reclaim(self, connection: GuardedConnection, taken: float) -> None:
        if connection not in self.inventory.lent or connection.taken != taken:
            return
        self.reclaimed += 1
        if self.runtime.events.listened(ConnectionReclaimed):
            held = self.runtime.clock.monotonic() - taken
            self.runtime.events.emit(
                ConnectionReclaimed(pool=self._name, held=held, site=where(connection.site))
            )
        self.inventory.give_back(connection)

    def stats(self) -> PoolStats:
        """Return the state in numbers."""
        inventory = self.inventory
        now = self.runtime.clock.monotonic() if inventory.lent else 0.0
        return PoolStats(
            size=inventory.size,
            idle=len(inventory.idle),
            used=len(inventory.lent),
            waiting=len(inventory.queue),
            min_size=inventory.min_size,
            max_size=inventory.max_size,
            acquired=inventory.acquired,
            waited=inventory.waited,
            exhausted=self.exhausted,
            connect_failures=inventory.connector.failures,
            oldest_use=max((now - each.taken for each in inventory.lent), default=0.0),
            resetting=len(inventory.pending),
            connecting=inventory.connecting,
            cancelled=self.cancelled,
            reclaimed=self.reclaimed,
        )

    def draining(self) -> DrainingError:
        """Return the error of callers who come while the pool closes."""
        return DrainingError(f"the pool {self._name!r} is closing")

    def _not_running(self) -> ProdkitError | RuntimeError:
        if self.state in ("closing", "closed"):
            return self.draining()
        if self.state == "forked":
            return misused(
                f"the pool {self._name!r} was started before this process was forked: start it again here"
            )
        if self.state == "starting":
            return misused(f"the pool is being initialized, but not yet ready: {self._name!r}")
        return misused(f"the pool {self._name!r} is not started: use `async with` or prodkit.running()")

    def _gave_up(self, waited: float, timeout: float) -> ProdkitError:
        """Return the error of a caller whose time is over: the server is away, or all connections are in use."""
        inventory = self.inventory
        if self.state == "suspended":
            return PoolExhaustedError(f"the pool {self._name!r} was suspended for {waited:.2f} s of waiting")
        if inventory.refusal is not None and not inventory.lent:
            return DatabaseError(str(inventory.refusal))
        if inventory.connector.failing and len(inventory.lent) < inventory.limit():
            return inventory.connector.unreachable(waited)
        error = self._exhausted(waited, f"no connection became free within {waited:.2f} s")
        if Deadline.sooner(None) == 0 and waited < timeout:
            return DeadlineExceededError(
                f"the deadline passed after {waited:.2f} s of waiting for a connection", timeout=waited
            )
        return error

    def _exhausted(self, waited: float, why: str) -> PoolExhaustedError:
        inventory = self.inventory
        stats = self.stats()
        self.exhausted += 1
        if self.runtime.events.listened(PoolExhausted):
            self.runtime.events.emit(
                PoolExhausted(pool=self._name, waited=waited, size=stats.size, waiting=stats.waiting)
            )
        text = f"{why}: {stats.used} of {stats.max_size} in use, {stats.waiting} waiting"
        oldest = min(inventory.lent, key=lambda each: each.taken, default=None)
        if oldest is not None:
            holder = oldest.holder.get_name() if oldest.holder is not None else "?"
            text += f", the longest held for {stats.oldest_use:.1f} s by {holder}"
            if site := where(oldest.site):
                text += f" (acquired at {site})"
        task = asyncio.current_task()
        own = [each for each in inventory.lent if each.holder is task]
        if own:
            text += f"; this task holds {len(own)} itself"
            if site := where(own[0].site):
                text += f" (acquired at {site})"
            text += ": pass that connection on instead of taking another"
        return PoolExhaustedError(text, size=stats.size, idle=stats.idle, waiting=stats.waiting)


def _expire(waiter: Waiter) -> None:
    if not waiter.future.done():
        waiter.future.set_exception(TimeoutError())


class Checkout:
    """The borrowing of one connection: ``async with db.acquire() as connection``, or ``await db.acquire()``."""

    __slots__ = ("_desk", "_timeout", "handle")

    def __init__(self, desk: Desk, timeout: float | None = None) -> None:
        self._desk = desk
        self._timeout = timeout
        self.handle: PooledConnection | None = None

    async def __aenter__(self) -> Connection:
        if self.handle is not None:
            raise RuntimeError("this connection is already acquired; call acquire() again")
        from prodkit.postgres.asyncpg_internals import PooledConnection

        connection = await self._desk.take(timeout=self._timeout, site=_caller())
        self.handle = PooledConnection(connection, self._desk.drop)
        return self.handle

    def __await__(self) -> Generator[Any, None, Connection]:
        """Borrow without a block: :meth:`Pool.release` gives the connection back."""
        return self.__aenter__().__await__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        lost = self.release()
        if lost and error is not None and type(error).__name__ == "InterfaceError":
            raise DatabaseError("the connection was lost while it was in use") from error

    def release(self) -> bool:
        """Give the connection back, without waiting for its reset; True when it was found dead."""
        assert self.handle is not None
        connection = self.handle._detach()
        if connection is None:
            return False
        lost = connection.is_closed()
        self._desk.give_back(connection)
        return lost

    @property
    def connection(self) -> GuardedConnection | None:
        """The connection behind the handle, while it is borrowed."""
        return None if self.handle is None else self.handle.connection

    def discard(self) -> None:
        """Cut the connection, whose state is not known; the pool replaces it."""
        connection = self.connection
        if connection is not None:
            connection.terminate()
