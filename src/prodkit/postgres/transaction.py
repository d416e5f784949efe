"""Transactions that say what became of them, and units of work that may run twice."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

from prodkit.errors import CallTimeoutError, DatabaseError, DeadlineExceededError
from prodkit.postgres.events import TransactionRerun
from prodkit.postgres.failures import CommitUnknownError

if TYPE_CHECKING:
    from asyncpg import Record
    from asyncpg.pool import PoolConnectionProxy

    from prodkit.postgres.pool import Pool

    Connection: TypeAlias = PoolConnectionProxy[Record]

__all__ = ["Isolation", "Transaction", "run_unit"]

T = TypeVar("T")
_BEGINNINGS = 3
Isolation: TypeAlias = Literal["read_uncommitted", "read_committed", "repeatable_read", "serializable"]


class Transaction:
    """``async with db.transaction() as tx``: a connection inside BEGIN … COMMIT, or ROLLBACK after an error."""

    __slots__ = ("_acquired", "_options", "_pool", "_started")

    def __init__(self, pool: Pool, options: dict[str, Any]) -> None:
        self._pool = pool
        self._options = options
        self._acquired: Any = None
        self._started: Any = None

    async def __aenter__(self) -> Connection:
        if self._acquired is not None:
            raise RuntimeError("this transaction is already entered; call transaction() again")
        for left in reversed(range(_BEGINNINGS)):
            self._acquired = self._pool.acquire()
            connection = await self._acquired.__aenter__()
            try:
                self._started = connection.transaction(**self._options)
                await self._started.start()
            except BaseException as error:
                await self._acquired.__aexit__(type(error), error, error.__traceback__)
                if isinstance(error, DatabaseError) and left:
                    continue  # a connection that died idle; a BEGIN that was lost has done nothing
                raise
            return connection  # type: ignore[no-any-return]
        raise AssertionError("unreachable")

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                await self._commit()
            else:
                await self._roll_back()
        finally:
            await self._acquired.__aexit__(kind, error, trace)

    async def _commit(self) -> None:
        try:
            await self._started.commit()
        except asyncio.CancelledError as error:
            error.add_note("cancelled while COMMIT was under way: it may or may not have taken effect")
            raise
        except DeadlineExceededError as error:
            if error.timeout is None:  # COMMIT was never sent: the reset of the connection rolls back
                raise
            raise CommitUnknownError("the deadline passed during COMMIT; its outcome is unknown") from error
        except CallTimeoutError as error:
            raise CommitUnknownError("no answer to COMMIT; its outcome is unknown") from error
        except DatabaseError as error:
            raise CommitUnknownError(
                "the connection was lost during COMMIT; its outcome is unknown"
            ) from error
        except Exception as error:
            if self._acquired.proxy._con is None:  # it died before COMMIT could be sent
                raise DatabaseError("the connection was lost before COMMIT; nothing was committed") from error
            raise

    async def _roll_back(self) -> None:
        try:
            await self._started.rollback()
        except Exception:  # noqa: BLE001 - the error that brought us here is the one to tell
            self._acquired.discard()


async def run_unit(
    pool: Pool, work: Callable[[Connection], Awaitable[T]], options: dict[str, Any], attempts: int
) -> T:
    """Runs `work` in a transaction, again when it failed in a way that committed nothing and may now pass."""
    for attempt in range(1, attempts + 1):
        try:
            async with Transaction(pool, options) as connection:
                return await work(connection)
        except Exception as error:
            if attempt == attempts or not await _may_pass_now(pool, error):
                raise
            events = pool._runtime.events
            if events.listened(TransactionRerun):
                events.emit(TransactionRerun(pool=pool.name, attempt=attempt, error=type(error).__name__))
    raise AssertionError("unreachable")


async def _may_pass_now(pool: Pool, error: Exception) -> bool:
    """Whether a second run has a chance; all of these happen before anything is committed."""
    import asyncpg

    if isinstance(error, asyncpg.SerializationError | asyncpg.DeadlockDetectedError):
        return True
    stale_type = isinstance(error, asyncpg.InternalServerError) and "cache lookup failed" in str(error)
    if stale_type or isinstance(
        error, asyncpg.InvalidCachedStatementError | asyncpg.OutdatedSchemaCacheError
    ):
        await pool.expire_connections()
        return True
    return isinstance(error, DatabaseError) and not isinstance(error, CommitUnknownError) and pool.running
