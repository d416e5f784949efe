"""The pool of connections that a service shares."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, overload

from prodkit.core.check import CheckResult
from prodkit.core.deadline import Deadline
from prodkit.core.lifespan import Managed
from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.core.secret import Revealable
from prodkit.errors import (
    DatabaseError,
    DeadlineExceededError,
    DrainingError,
    MissingExtraError,
    PoolExhaustedError,
    ProdkitError,
)
from prodkit.postgres.connect import Connector
from prodkit.postgres.events import PoolAcquired, PoolDemoted, PoolExhausted
from prodkit.postgres.failures import NotSentError
from prodkit.postgres.health import Probe, verdict
from prodkit.postgres.stats import PoolStats
from prodkit.postgres.transaction import Isolation, Transaction, run_unit

if TYPE_CHECKING:
    from asyncpg import Record

    from prodkit.postgres.transaction import Connection

__all__ = ["Pool"]

T = TypeVar("T")
_PING_AFTER = 1.0
_RELEASE_LIMIT = 5.0
_SUSPECT_LIMIT = 0.25
_IDLE_LIFETIME = 300.0


class Pool(Managed):
    """Connections to one PostgreSQL database, for ``async with`` or :func:`prodkit.running`.

    ::

        async with postgres.Pool(settings.database_url) as db:
            rows = await db.fetch("select name from expert where id = $1", 7)
            async with db.transaction() as tx:
                await tx.execute("insert into …")

    Nothing waits without a limit: a connection for `acquire_timeout`, a statement for `command_timeout`, both
    never beyond the caller's Deadline. While the server is down or out of slots, callers wait within their limit
    and connecting is tried again; waiters are served in order. A connection goes back clean: settings, role,
    temporary tables, locks and listeners of one borrower never reach the next.
    """

    def __init__(
        self,
        dsn: str | Revealable,
        *,
        min_size: int = 5,
        max_size: int = 20,
        acquire_timeout: float = 5.0,
        command_timeout: float = 30.0,
        connect_timeout: float = 3.0,
        max_lifetime: float = 1800.0,
        close_timeout: float = 8.0,
        statement_cache_size: int | None = None,
        application_name: str = "prodkit",
        name: str = "postgres",
        runtime: Runtime = SYSTEM,
    ) -> None:
        """`statement_cache_size` None means asyncpg's 100, and 0 where a transaction pooler is found between."""
        problems = [
            f"{key} must be a positive number of seconds, got {value!r}"
            for key, value in (
                ("acquire_timeout", acquire_timeout),
                ("command_timeout", command_timeout),
                ("connect_timeout", connect_timeout),
                ("max_lifetime", max_lifetime),
                ("close_timeout", close_timeout),
            )
            if not value > 0
        ]
        if not 0 <= min_size <= max_size or max_size < 1:
            problems.append(f"sizes must be 0 <= min_size <= max_size, got {min_size!r} and {max_size!r}")
        if statement_cache_size is not None and statement_cache_size < 0:
            problems.append(f"statement_cache_size must not be negative, got {statement_cache_size!r}")
        if problems:
            raise ValueError("; ".join(problems))
        self._name = name
        self._min_size = min_size
        self._max_size = max_size
        self._acquire_timeout = acquire_timeout
        self._command_timeout = command_timeout
        self._close_timeout = close_timeout
        self._runtime = runtime
        self._connector = Connector(
            dsn,
            pool=name,
            command_timeout=command_timeout,
            connect_timeout=connect_timeout,
            max_lifetime=max_lifetime,
            statement_cache_size=statement_cache_size,
            application_name=application_name,
            runtime=runtime,
            on_read_only=self._on_read_only,
        )
        self._probe = Probe(self._connector)
        self._pool: Any = None
        self._slots = asyncio.Semaphore(max_size)  # FIFO, where asyncpg's own queue lets newcomers overtake
        self._freed = asyncio.Event()
        self._holders: dict[int, tuple[float, str]] = {}
        self._releases: set[asyncio.Task[None]] = set()
        self._closing = False
        self._waiting = 0
        self._acquired = 0
        self._waited = 0.0
        self._exhausted = 0

    @property
    def name(self) -> str:
        """How health reports and events call this pool."""
        return self._name

    @property
    def running(self) -> bool:
        """Whether connections can be had: between ``start`` and ``aclose``."""
        return self._pool is not None and not self._closing

    async def start(self) -> None:
        """Opens `min_size` connections. Waits `acquire_timeout` for a server that is still starting.

        Raises DatabaseError when the server cannot be reached or refuses us, MissingExtraError without asyncpg.
        """
        if self._pool is not None:
            raise RuntimeError(f"the pool {self._name!r} has already been started")
        try:
            import asyncpg

            from prodkit.postgres.connection import GuardedConnection
        except ModuleNotFoundError as error:
            if error.name != "asyncpg":
                raise
            raise MissingExtraError.named("asyncpg", "postgres") from None

        async def fill() -> Any:
            return await asyncpg.create_pool(
                min_size=self._min_size,
                max_size=self._max_size,
                connect=self._connector.open,
                connection_class=GuardedConnection,
                max_inactive_connection_lifetime=_IDLE_LIFETIME,
            )

        self._closing = False
        budget = Deadline.sooner(self._acquire_timeout)
        limit = asyncio.timeout(budget)
        try:
            async with limit:
                await self._connector.detect_pooler()
                pool = await self._connector.persist(fill)
        except TimeoutError:
            if not limit.expired():
                raise
            raise self._connector.unreachable(budget) from None
        self._pool = pool

    async def aclose(self) -> None:
        """Waits for the borrowers, at most `close_timeout` seconds, and closes every connection."""
        self._closing = True
        await self._probe.aclose()
        pool, self._pool = self._pool, None
        if pool is None:
            return
        try:
            async with asyncio.timeout(self._close_timeout):
                await pool.close()
        except TimeoutError:
            pool.terminate()
        except BaseException:
            pool.terminate()
            raise
        finally:
            if self._releases:
                await asyncio.wait(self._releases, timeout=_RELEASE_LIMIT)

    def acquire(self) -> AbstractAsyncContextManager[Connection]:
        """``async with db.acquire() as connection``: one connection, given back clean.

        Raises PoolExhaustedError when none became free in time, DatabaseError when the server could not be
        reached meanwhile, DeadlineExceededError when the deadline came first, DrainingError while closing.
        """
        return _Acquired(self)

    @overload
    def transaction(
        self,
        work: None = None,
        *,
        isolation: Isolation | None = None,
        readonly: bool = False,
        deferrable: bool = False,
    ) -> AbstractAsyncContextManager[Connection]: ...
    @overload
    def transaction(
        self,
        work: Callable[[Connection], Awaitable[T]],
        *,
        isolation: Isolation | None = None,
        readonly: bool = False,
        deferrable: bool = False,
        attempts: int = 2,
    ) -> Awaitable[T]: ...
    def transaction(
        self,
        work: Callable[[Connection], Awaitable[Any]] | None = None,
        *,
        isolation: Isolation | None = None,
        readonly: bool = False,
        deferrable: bool = False,
        attempts: int = 2,
    ) -> Any:
        """A transaction in one of two forms.

        ``async with db.transaction() as tx`` runs its block once. ``await db.transaction(work)`` calls
        ``work(tx)`` and may call it a second time (`attempts` in all) when the first run committed nothing: after
        a serialization failure, a deadlock, a changed schema or a lost connection. So `work` does nothing that
        it must not do twice, besides what it does through ``tx``.

        Raises CommitUnknownError when the connection was lost during COMMIT.
        """
        options = {"isolation": isolation, "readonly": readonly, "deferrable": deferrable}
        if work is None:
            return Transaction(self, options)
        if not callable(work):
            raise TypeError(
                f"transaction takes an async function of one connection, got {work!r}: pass the function"
            )
        if attempts < 1:
            raise ValueError(f"attempts must be at least 1, got {attempts!r}")
        return run_unit(self, work, options, attempts)

    async def fetch(self, query: str, *args: object, timeout: float | None = None) -> list[Record]:
        """All rows of one statement."""
        rows: list[Record] = await self._once("fetch", query, *args, timeout=timeout)
        return rows

    async def fetchrow(self, query: str, *args: object, timeout: float | None = None) -> Record | None:
        """The first row, or None."""
        row: Record | None = await self._once("fetchrow", query, *args, timeout=timeout)
        return row

    async def fetchval(self, query: str, *args: object, column: int = 0, timeout: float | None = None) -> Any:
        """One column of the first row, or None."""
        return await self._once("fetchval", query, *args, column=column, timeout=timeout)

    async def execute(self, query: str, *args: object, timeout: float | None = None) -> str:
        """Runs one statement, or several without arguments, and returns the server's tag, ``UPDATE 3``."""
        return str(await self._once("execute", query, *args, timeout=timeout))

    async def executemany(self, query: str, args: Iterable[Any], *, timeout: float | None = None) -> None:
        """Runs one statement for each sequence of `args`: all of them, or none."""
        await self._once("executemany", query, list(args), timeout=timeout)

    async def _once(self, method: str, *args: Any, **options: Any) -> Any:
        """One statement on a connection of its own; again on the next one while it could not even be sent."""
        for _ in range(self._max_size):
            try:
                async with _Acquired(self) as connection:
                    return await getattr(connection, method)(*args, **options)
            except NotSentError:
                continue
        raise self._connector.unreachable(None)

    async def expire_connections(self) -> None:
        """Replaces every connection before its next use: after a schema change, a fail-over, a new password."""
        if self._pool is not None:
            await self._pool.expire_connections()

    def stats(self) -> PoolStats:
        """The pool in numbers."""
        pool = self._pool
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

    async def check(self) -> CheckResult:
        """Asks the server over a connection of its own, so that a full pool is not taken for a dead server.

        ``details["verdict"]`` is ``up``, ``saturated`` or ``read_only`` (both degraded), or ``down``.
        """
        if not self.running:
            return CheckResult("down", "the pool is not running", {"verdict": "down"})
        return verdict(await self._probe.ask(), self.stats())

    def __repr__(self) -> str:
        state = "running" if self.running else "closing" if self._closing else "not started"
        return f"Pool({self._name!r}, min_size={self._min_size}, max_size={self._max_size}, {state})"

    # -- how a connection changes hands

    async def _take(self) -> Any:
        """Waits for a turn, then for a connection that answers; gives up at the sooner of limit and deadline."""
        if not self.running:
            raise self._not_running()
        clock = self._runtime.clock
        begun = clock.monotonic()
        budget = Deadline.sooner(self._acquire_timeout)
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
        if self._runtime.events.listened:
            self._runtime.events.emit(PoolAcquired(pool=self._name, waited=now - begun))
        return proxy

    async def _borrow(self) -> Any:
        """A connection that is known to live: one that lay idle is asked first, and replaced if it is silent."""
        import asyncpg

        for pause in self._connector.pauses():
            pool = self._pool
            if pool is None or self._closing:
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

    def _give_back(self, proxy: Any) -> asyncio.Task[None]:
        """Starts the cleaning of a connection in a task of its own: a cancelled borrower cannot cut it short."""
        task = asyncio.ensure_future(self._clean(proxy))
        self._releases.add(task)
        task.add_done_callback(self._releases.discard)
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
            await pool.release(proxy, timeout=_SUSPECT_LIMIT if connection.suspect else _RELEASE_LIMIT)
        except Exception:  # noqa: BLE001 - asyncpg has terminated the connection, and the slot is free
            if connection is not None:
                connection.terminate()
        finally:
            self._holders.pop(id(proxy), None)
            self._slots.release()
            self._freed.set()

    def _discard(self, acquired: _Acquired) -> None:
        if acquired.proxy is not None and acquired.proxy._con is not None:
            acquired.proxy._con.terminate()

    def _on_read_only(self) -> None:
        if self._pool is not None:
            self._pool._generation += 1  # what expire_connections() does, without a coroutine
        if self._runtime.events.listened:
            self._runtime.events.emit(PoolDemoted(pool=self._name))

    def _not_running(self) -> ProdkitError | RuntimeError:
        if self._closing:
            return DrainingError(f"the pool {self._name!r} is closing")
        return RuntimeError(f"the pool {self._name!r} is not started: use `async with` or prodkit.running()")

    def _gave_up(self, waited: float) -> ProdkitError:
        """What to tell a caller whose time is over: the server is away, or all connections are in use."""
        deadline = Deadline.sooner(None) == 0
        if self._connector.failing and len(self._holders) < self._max_size:
            return self._connector.unreachable(waited)
        stats = self.stats()
        self._exhausted += 1
        if self._runtime.events.listened:
            self._runtime.events.emit(
                PoolExhausted(pool=self._name, waited=waited, size=stats.size, waiting=stats.waiting)
            )
        if deadline and waited < self._acquire_timeout:
            return DeadlineExceededError(
                f"the deadline passed after {waited:.2f} s of waiting for a connection", timeout=waited
            )
        oldest = max(self._holders.values(), key=lambda held: -held[0], default=(math.nan, "?"))
        task = asyncio.current_task()
        mine = sum(holder == task.get_name() for _, holder in self._holders.values()) if task else 0
        text = (
            f"no connection became free within {waited:.2f} s: {stats.used} of {self._max_size} in use, "
            f"{stats.waiting} waiting, the longest held for {stats.oldest_use:.1f} s by {oldest[1]}"
        )
        if mine:
            text += f"; this task holds {mine} itself: pass that connection on instead of taking another"
        return PoolExhaustedError(text, size=stats.size, idle=stats.idle, waiting=stats.waiting)


class _Acquired:
    """The borrowing of one connection."""

    __slots__ = ("_pool", "proxy")

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.proxy: Any = None

    async def __aenter__(self) -> Connection:
        if self.proxy is not None:
            raise RuntimeError("this connection is already acquired; call acquire() again")
        self.proxy = await self._pool._take()
        return self.proxy  # type: ignore[no-any-return]

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        lost = self.proxy._con is None  # asyncpg takes a dead connection out of its holder's hands
        await asyncio.shield(self._pool._give_back(self.proxy))
        if lost and error is not None and type(error).__name__ == "InterfaceError":
            raise DatabaseError("the connection was lost while it was in use") from error
