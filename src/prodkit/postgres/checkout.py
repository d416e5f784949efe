"""How a connection changes hands: in turn, alive, within the limit, and clean when it comes back."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any

from prodkit.core.deadline import Deadline
from prodkit.core.runtime import Runtime
from prodkit.errors import (
    DatabaseError,
    DeadlineExceededError,
    DrainingError,
    PoolExhaustedError,
    ProdkitError,
)
from prodkit.postgres.connect import Connector
from prodkit.postgres.events import PoolAcquired, PoolExhausted
from prodkit.postgres.stats import PoolStats

if TYPE_CHECKING:
    from prodkit.postgres.transaction import Connection

__all__ = ["Borrowed", "Lender"]

_PING_AFTER = 1.0
_RELEASE_LIMIT = 5.0
_SUSPECT_LIMIT = 0.25


class Lender:
    """Lends the connections of asyncpg's pool, and counts."""

    def __init__(
        self,
        *,
        name: str,
        min_size: int,
        max_size: int,
        timeout: float,
        connector: Connector,
        runtime: Runtime,
    ) -> None:
        self._name = name
        self._min_size = min_size
        self._max_size = max_size
        self._timeout = timeout
        self._connector = connector
        self._runtime = runtime
        self.pool: Any = None
        """asyncpg's pool while the service runs."""
        self.closing = False
        self._slots = asyncio.Semaphore(max_size)  # FIFO, where asyncpg's own queue lets newcomers overtake
        self._freed = asyncio.Event()
        self._holders: dict[int, tuple[float, str]] = {}
        self._returning: set[asyncio.Task[None]] = set()
        self._waiting = 0
        self._acquired = 0
        self._waited = 0.0
        self._exhausted = 0

    @property
    def running(self) -> bool:
        """Whether connections can be had."""
        return self.pool is not None and not self.closing

    async def close(self, pool: Any, timeout: float) -> None:
        """Waits for the borrowers at most `timeout` seconds, then cuts them off."""
        try:
            async with asyncio.timeout(timeout):
                await pool.close()
        except TimeoutError:
            pool.terminate()
        except BaseException:
            pool.terminate()
            raise
        finally:
            if self._returning:
                await asyncio.wait(self._returning, timeout=_RELEASE_LIMIT)

    def stats(self) -> PoolStats:
        """The pool in numbers."""
        pool = self.pool
        now = self._runtime.clock.monotonic() if self._holders else 0.0
        return PoolStats(
            size=pool.get_size() if pool is not None else 0,
            idle=pool.get_idle_size() if pool is not None else 0,
            used=len(self._holders),
            waiting=self._waiting,
            min_size=self._min_size,
            max_size=self._max_size,
            acquired=self._acquired,
            waited=self._waited,
            exhausted=self._exhausted,
            connect_failures=self._connector.failures,
            oldest_use=max((now - since for since, _ in self._holders.values()), default=0.0),
        )

    async def take(self) -> Any:
        """Waits for a turn, then for a connection that answers; gives up at the sooner of limit and deadline."""
        if not self.running:
            raise self._not_running()
        clock = self._runtime.clock
        begun = clock.monotonic()
        budget = Deadline.sooner(self._timeout)
        if budget == 0:
            raise DeadlineExceededError("the deadline has passed; no connection was taken")
        self._waiting += 1
        limit = asyncio.timeout(budget)
        try:
            async with limit:
                await self._slots.acquire()
                try:
                    proxy = await self._borrow()
                except BaseException:
                    self._slots.release()
                    raise
        except TimeoutError:
            if not limit.expired():
                raise
            raise self._gave_up(clock.monotonic() - begun) from None
        finally:
            self._waiting -= 1
        now = clock.monotonic()
        self._acquired += 1
        self._waited += now - begun
        task = asyncio.current_task()
        self._holders[id(proxy)] = (now, task.get_name() if task else "?")
        if self._runtime.events.listened(PoolAcquired):
            self._runtime.events.emit(PoolAcquired(pool=self._name, waited=now - begun))
        return proxy

    async def _borrow(self) -> Any:
        """A connection that is known to live: one that lay idle is asked first, and replaced if it is silent."""
        import asyncpg

        for pause in self._connector.pauses():
            pool = self.pool
            if pool is None or self.closing:
                raise self._not_running()
            try:
                proxy = await pool.acquire()
            except OSError as error:
                # The server is away or out of slots. A connection that comes back meanwhile will do as well.
                self._connector.tell(error, pause)
                await self._pause(pause)
                continue
            except asyncpg.InterfaceError:
                if self.running:
                    raise
                raise self._not_running() from None
            connection = proxy._con
            connection.suspect = False
            if (
                self._runtime.clock.monotonic() - connection.idle_since < _PING_AFTER
                and not connection.is_closed()
            ):
                return proxy
            try:
                await connection.execute("select 1", timeout=_PING_AFTER)
            except asyncio.CancelledError:
                await self._drop(pool, proxy)
                raise
            except Exception:  # noqa: BLE001 - whatever a dead connection raises, the next one may be alive
                await self._drop(pool, proxy)
            else:
                return proxy
        raise AssertionError("unreachable")

    async def _pause(self, seconds: float) -> None:
        self._freed.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._freed.wait()

    @staticmethod
    async def _drop(pool: Any, proxy: Any) -> None:
        connection = proxy._con
        if connection is not None:
            connection.terminate()
        with suppress(Exception):
            await pool.release(proxy)

    def give_back(self, proxy: Any) -> asyncio.Task[None]:
        """Starts the cleaning of a connection in a task of its own: a cancelled borrower cannot cut it short."""
        task = asyncio.ensure_future(self._clean(proxy))
        self._returning.add(task)
        task.add_done_callback(self._returning.discard)
        return task

    async def _clean(self, proxy: Any) -> None:
        connection = proxy._con
        pool = proxy._holder._pool
        try:
            if connection is None or connection.is_closed():
                await self._drop(pool, proxy)
                return
            now = self._runtime.clock.monotonic()
            if now - connection.born > connection.lifetime:
                await connection.close(timeout=1.0)
                return
            connection.idle_since = now
            # What asyncpg's Pool.release() does, without its second task: this is one already.
            connection._on_release()
            await proxy._holder.release(_SUSPECT_LIMIT if connection.suspect else _RELEASE_LIMIT)
        except Exception:  # noqa: BLE001 - asyncpg has terminated the connection, and the slot is free
            if connection is not None:
                connection.terminate()
        finally:
            self._holders.pop(id(proxy), None)
            self._slots.release()
            self._freed.set()

    def _not_running(self) -> ProdkitError | RuntimeError:
        if self.closing:
            return DrainingError(f"the pool {self._name!r} is closing")
        return RuntimeError(f"the pool {self._name!r} is not started: use `async with` or prodkit.running()")

    def _gave_up(self, waited: float) -> ProdkitError:
        """What to tell a caller whose time is over: the server is away, or all connections are in use."""
        deadline = Deadline.sooner(None) == 0
        if self._connector.failing and len(self._holders) < self._max_size:
            return self._connector.unreachable(waited)
        stats = self.stats()
        self._exhausted += 1
        if self._runtime.events.listened(PoolExhausted):
            self._runtime.events.emit(
                PoolExhausted(pool=self._name, waited=waited, size=stats.size, waiting=stats.waiting)
            )
        if deadline and waited < self._timeout:
            return DeadlineExceededError(
                f"the deadline passed after {waited:.2f} s of waiting for a connection", timeout=waited
            )
        oldest = min(self._holders.values(), default=(0.0, "?"))
        task = asyncio.current_task()
        mine = sum(holder == task.get_name() for _, holder in self._holders.values()) if task else 0
        text = (
            f"no connection became free within {waited:.2f} s: {stats.used} of {self._max_size} in use, "
            f"{stats.waiting} waiting, the longest held for {stats.oldest_use:.1f} s by {oldest[1]}"
        )
        if mine:
            text += f"; this task holds {mine} itself: pass that connection on instead of taking another"
        return PoolExhaustedError(text, size=stats.size, idle=stats.idle, waiting=stats.waiting)


class Borrowed:
    """The borrowing of one connection."""

    __slots__ = ("_lender", "proxy")

    def __init__(self, lender: Lender) -> None:
        self._lender = lender
        self.proxy: Any = None

    async def __aenter__(self) -> Connection:
        if self.proxy is not None:
            raise RuntimeError("this connection is already acquired; call acquire() again")
        self.proxy = await self._lender.take()
        return self.proxy  # type: ignore[no-any-return]

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        lost = self.proxy._con is None  # asyncpg takes a dead connection out of its holder's hands
        await asyncio.shield(self._lender.give_back(self.proxy))
        if lost and error is not None and type(error).__name__ == "InterfaceError":
            raise DatabaseError("the connection was lost while it was in use") from error

    def discard(self) -> None:
        """Cuts the connection, whose state nobody knows any more; it is replaced when it comes back."""
        if self.proxy is not None and self.proxy._con is not None:
            self.proxy._con.terminate()
