"""The pool of connections that a service shares."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, TypeVar, overload

from prodkit.core.check import CheckResult
from prodkit.core.deadline import Deadline
from prodkit.core.lifespan import Managed
from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.core.secrets import Revealable
from prodkit.errors import (
    MissingExtraError,
)
from prodkit.postgres.checkout import Borrowed, Lender
from prodkit.postgres.connect import Connector
from prodkit.postgres.events import PoolDemoted
from prodkit.postgres.failures import NotSentError
from prodkit.postgres.health import Probe, verdict
from prodkit.postgres.stats import PoolStats
from prodkit.postgres.transaction import Isolation, Transaction, run_unit

if TYPE_CHECKING:
    from asyncpg import Record

    from prodkit.postgres.transaction import Connection

__all__ = ["Pool"]

T = TypeVar("T")
_IDLE_LIFETIME = 300.0


def _without_traceback(record: logging.LogRecord) -> bool:
    """An outage is told once an attempt by our events; asyncpg's page of traceback for each says no more."""
    record.exc_info = record.exc_text = None
    return True


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
        self._lender = Lender(
            name=name,
            min_size=min_size,
            max_size=max_size,
            timeout=acquire_timeout,
            connector=self._connector,
            runtime=runtime,
        )

    @property
    def name(self) -> str:
        """How health reports and events call this pool."""
        return self._name

    @property
    def running(self) -> bool:
        """Whether connections can be had: between ``start`` and ``aclose``."""
        return self._lender.running

    async def start(self) -> None:
        """Opens `min_size` connections. Waits `acquire_timeout` for a server that is still starting.

        Raises DatabaseError when the server cannot be reached or refuses us, MissingExtraError without asyncpg.
        """
        if self._lender.pool is not None:
            raise RuntimeError(f"the pool {self._name!r} has already been started")
        try:
            import asyncpg

            from prodkit.postgres.connection import GuardedConnection
        except ModuleNotFoundError as error:
            if error.name != "asyncpg":
                raise
            raise MissingExtraError.named("asyncpg", "postgres") from None
        logging.getLogger("asyncpg.pool").addFilter(_without_traceback)

        async def fill() -> Any:
            return await asyncpg.create_pool(
                min_size=self._min_size,
                max_size=self._max_size,
                connect=self._connector.open,
                connection_class=GuardedConnection,
                max_inactive_connection_lifetime=_IDLE_LIFETIME,
            )

        self._lender.closing = False
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
        self._lender.pool = pool

    async def aclose(self) -> None:
        """Waits for the borrowers, at most `close_timeout` seconds, and closes every connection."""
        lender = self._lender
        lender.closing = True
        await self._probe.aclose()
        pool, lender.pool = lender.pool, None
        if pool is not None:
            await lender.close(pool, self._close_timeout)

    def acquire(self) -> AbstractAsyncContextManager[Connection]:
        """``async with db.acquire() as connection``: one connection, given back clean.

        Raises PoolExhaustedError when none became free in time, DatabaseError when the server could not be
        reached meanwhile, DeadlineExceededError when the deadline came first, DrainingError while closing.
        """
        return Borrowed(self._lender)

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
                async with Borrowed(self._lender) as connection:
                    return await getattr(connection, method)(*args, **options)
            except NotSentError:
                continue
        raise self._connector.unreachable(None)

    async def expire_connections(self) -> None:
        """Replaces every connection before its next use: after a schema change, a fail-over, a new password."""
        if self._lender.pool is not None:
            await self._lender.pool.expire_connections()

    def stats(self) -> PoolStats:
        """The pool in numbers."""
        return self._lender.stats()

    async def check(self) -> CheckResult:
        """Asks the server over a connection of its own, so that a full pool is not taken for a dead server.

        ``details["verdict"]`` is ``up``, ``saturated`` or ``read_only`` (both degraded), or ``down``.
        """
        if not self.running:
            return CheckResult("down", "the pool is not running", {"verdict": "down"})
        return verdict(await self._probe.ask(), self.stats())

    def __repr__(self) -> str:
        state = "running" if self.running else "closing" if self._lender.closing else "not started"
        return f"Pool({self._name!r}, min_size={self._min_size}, max_size={self._max_size}, {state})"

    def _on_read_only(self) -> None:
        if self._lender.pool is not None:
            self._lender.pool._generation += 1  # what expire_connections() does, without a coroutine
        if self._runtime.events.listened(PoolDemoted):
            self._runtime.events.emit(PoolDemoted(pool=self._name))
