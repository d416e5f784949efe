"""Transactions whose outcome is known, and units of work that may run twice."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, TypeVar

from prodkit.errors import CallTimeoutError, DatabaseError, DeadlineExceededError
from prodkit.postgres.checkout import Checkout, Desk
from prodkit.postgres.events import TransactionRerun
from prodkit.postgres.outcome import CommitOutcome, CommitUnknownError

if TYPE_CHECKING:
    from prodkit.postgres.asyncpg_internals import GuardedConnection
    from prodkit.postgres.checkout import Connection

__all__ = ["Isolation", "Transaction", "run_unit"]

T = TypeVar("T")
Isolation: TypeAlias = Literal["read_uncommitted", "read_committed", "repeatable_read", "serializable"]
_STATUS: Final = "select pg_catalog.pg_xact_status($1::text::xid8)"
_RESOLVE_LIMIT: Final = 10.0


class Transaction:
    """``async with db.transaction() as tx``: a connection inside BEGIN … COMMIT, or ROLLBACK after an error.

    Args:
        desk: lends the connection.
        options: ``isolation``, ``readonly`` and ``deferrable`` of asyncpg's transaction.
        resolvable: ask for the transaction's id before COMMIT, so that a lost reply can be looked up.
    """

    __slots__ = ("_checkout", "_desk", "_options", "_resolvable", "_started", "_xid")

    def __init__(self, desk: Desk, options: dict[str, Any], *, resolvable: bool = False) -> None:
        self._desk = desk
        self._options = options
        self._resolvable = resolvable
        self._checkout: Checkout | None = None
        self._started: Any = None
        self._xid: str | None = None

    async def __aenter__(self) -> Connection:
        if self._checkout is not None:
            raise RuntimeError("this transaction is already entered; call transaction() again")
        for left in reversed(range(self._desk.inventory.max_size + 2)):
            checkout = Checkout(self._desk)
            connection = await checkout.__aenter__()
            try:
                self._started = connection.transaction(**self._options)
                await self._started.start()
            except BaseException as error:
                confused = (
                    type(error).__name__ == "InterfaceError"
                )  # its state is not that of an idle connection
                if confused:
                    checkout.discard()
                checkout.release()
                if (confused or isinstance(error, DatabaseError)) and left:
                    continue  # a connection that died idle; a BEGIN that was lost has done nothing
                raise
            self._checkout = checkout
            return connection
        raise AssertionError("unreachable")

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        checkout = self._checkout
        assert checkout is not None
        connection = checkout.connection
        if connection is None or connection.is_closed():
            checkout.release()
            self._raise_lost(error)
            return
        if error is None:
            await self._commit(checkout, connection)
            return
        if isinstance(error, Exception):
            try:
                await self._started.rollback()
            except Exception:  # noqa: BLE001 - the error of the block is the one to raise
                checkout.discard()
            finally:
                checkout.release()
        else:
            # Cancelled: the caller leaves at once, the reset of the connection rolls back.
            checkout.release()

    @staticmethod
    def _raise_lost(error: BaseException | None) -> None:
        if error is None:
            raise DatabaseError("the connection was lost before COMMIT; nothing was committed")
        if type(error).__name__ == "InterfaceError":
            raise DatabaseError("the connection was lost while it was in use") from error

    async def _commit(self, checkout: Checkout, connection: GuardedConnection) -> None:
        """Send COMMIT in a task of its own, so that a cancelled caller neither cuts it short nor hides its outcome.

        After the reply nothing on this path waits: a cancellation shows at the caller's next ``await``.
        """
        if self._resolvable:
            try:
                self._xid = await connection.fetchval("select pg_catalog.pg_current_xact_id()::text")
            except BaseException:
                checkout.release()
                raise
        commit = asyncio.ensure_future(self._send_commit(connection))
        try:
            committed = await asyncio.shield(commit)
        except asyncio.CancelledError as error:
            raise error from self._cancelled(commit, checkout)
        except BaseException as error:
            lost = connection.is_closed()
            checkout.release()
            seen = self._failed(error, commit, lost=lost)
            if seen is error:
                raise
            raise seen from error
        checkout.release()
        if not committed:
            raise _rolled_back()

    def _cancelled(self, commit: asyncio.Future[bool], checkout: Checkout) -> BaseException | None:
        """Return the cause for the CancelledError of a caller that was cancelled during COMMIT."""
        unknown = self._unknown("cancelled during COMMIT", commit)
        if not commit.done():
            # The connection goes back when the reply has come.
            commit.add_done_callback(lambda _: _settle(commit, checkout))
            return unknown
        _settle(commit, checkout)
        if commit.cancelled():  # the loop is going down
            return unknown
        error = commit.exception()
        return unknown if error is None or _unclear(error) else error

    def _failed(self, error: BaseException, commit: asyncio.Future[bool], *, lost: bool) -> BaseException:
        """Return the error of a COMMIT that failed with `error`."""
        if isinstance(error, DeadlineExceededError):
            # Without a timeout it was not sent: the reset of the connection rolls back.
            return (
                error if error.timeout is None else self._unknown("the deadline passed during COMMIT", commit)
            )
        if isinstance(error, CallTimeoutError):
            return self._unknown("no answer to COMMIT", commit)
        if isinstance(error, DatabaseError):
            return self._unknown("the connection was lost during COMMIT", commit)
        if lost and type(error).__name__ == "InterfaceError":
            return DatabaseError("the connection was lost before COMMIT; nothing was committed")
        return error

    async def _send_commit(self, connection: GuardedConnection) -> bool:
        """Return False when the server rolled back instead, because a statement had failed."""
        await self._started.commit()
        return not connection.guard.commit_failed

    def _unknown(self, what: str, commit: asyncio.Future[bool]) -> CommitUnknownError:
        error = CommitUnknownError(f"{what}; its outcome is unknown")
        desk, xid = self._desk, self._xid

        async def resolve() -> CommitOutcome:
            return await _resolve(desk, xid, commit)

        error.resolver = resolve
        return error


def _rolled_back() -> Exception:
    import asyncpg

    return asyncpg.InFailedSQLTransactionError(
        "the transaction was rolled back: a statement in it had failed, and its error was caught outside a savepoint"
    )


def _unclear(error: BaseException | None) -> bool:
    """Return True when COMMIT's `error` leaves open whether it took effect."""
    if isinstance(error, DeadlineExceededError) and error.timeout is None:
        return False
    return isinstance(error, CallTimeoutError | DatabaseError | OSError)


def _settle(commit: asyncio.Future[bool], checkout: Checkout) -> None:
    if commit.cancelled():
        checkout.discard()
    else:
        commit.exception()
    checkout.release()


async def _resolve(desk: Desk, xid: str | None, commit: asyncio.Future[bool]) -> CommitOutcome:
    """Wait for a reply that may still come, then ask the server about the transaction's id."""
    if not commit.done():
        await asyncio.wait((commit,), timeout=_RESOLVE_LIMIT)
    if commit.done() and not commit.cancelled():
        error = commit.exception()
        if error is None:
            return CommitOutcome.COMMITTED if commit.result() else CommitOutcome.ABORTED
        if not _unclear(error):
            return CommitOutcome.ABORTED
    if xid is None:
        return CommitOutcome.UNKNOWN
    try:
        async with asyncio.timeout(_RESOLVE_LIMIT):
            while True:
                connection = await desk.take()
                try:
                    status = await connection.fetchval(_STATUS, xid)
                finally:
                    desk.give_back(connection)
                if status != "in progress":
                    return CommitOutcome(status) if status else CommitOutcome.UNKNOWN
                await desk.runtime.clock.sleep(0.05)
    except (TimeoutError, DatabaseError):
        return CommitOutcome.UNKNOWN


async def run_unit(
    desk: Desk,
    work: Callable[[Connection], Awaitable[T]],
    options: dict[str, Any],
    *,
    name: str,
    attempts: int,
    resolvable: bool,
    refresh: Callable[[], None],
) -> T:
    """Run `work` in a transaction, again when it failed in a way that committed nothing and may now pass."""
    for attempt in range(1, attempts + 1):
        try:
            async with Transaction(desk, options, resolvable=resolvable) as connection:
                return await work(connection)
        except Exception as error:
            if attempt == attempts or not _may_pass_now(desk, error, refresh):
                raise
            events = desk.runtime.events
            if events.listened(TransactionRerun):
                events.emit(TransactionRerun(pool=name, attempt=attempt, error=type(error).__name__))
    raise AssertionError("unreachable")


def _may_pass_now(desk: Desk, error: Exception, refresh: Callable[[], None]) -> bool:
    """Return True when a second run has a chance; each of these happens before anything is committed."""
    import asyncpg

    from prodkit.postgres.operation import is_stale

    if isinstance(error, asyncpg.SerializationError | asyncpg.DeadlockDetectedError):
        return True
    if is_stale(error):
        refresh()
        return True
    if isinstance(error, CommitUnknownError) or desk.state != "running":
        return False
    return isinstance(error, DatabaseError)
