"""Statements and transactions of a pool: again where the first try provably did nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, TypeVar, get_args, overload

from prodkit.core.lifespan import Managed
from prodkit.core.validate import Arguments
from prodkit.postgres.checkout import Desk
from prodkit.postgres.outcome import NotSentError
from prodkit.postgres.transaction import Isolation, Transaction, run_unit

if TYPE_CHECKING:
    from asyncpg import Record

    from prodkit.postgres.asyncpg_internals import GuardedConnection
    from prodkit.postgres.checkout import Connection

__all__ = ["Statements"]

T = TypeVar("T")


class Statements(Managed):
    """The methods of :class:`~prodkit.postgres.Pool` that run statements and transactions."""

    _desk: Desk
    _name: str

    @overload
    def transaction(
        self,
        work: None = None,
        *,
        isolation: Isolation | None = None,
        readonly: bool = False,
        deferrable: bool = False,
        resolvable: bool = False,
    ) -> AbstractAsyncContextManager[Connection]: ...
    @overload
    def transaction(
        self,
        work: Callable[[Connection], Awaitable[T]],
        *,
        isolation: Isolation | None = None,
        readonly: bool = False,
        deferrable: bool = False,
        resolvable: bool = False,
        attempts: int = 2,
    ) -> Awaitable[T]: ...
    def transaction(
        self,
        work: Callable[[Connection], Awaitable[Any]] | None = None,
        *,
        isolation: Isolation | None = None,
        readonly: bool = False,
        deferrable: bool = False,
        resolvable: bool = False,
        attempts: int = 2,
    ) -> Any:
        """Open a transaction, in one of two forms.

        ``async with db.transaction() as tx`` runs its block once. ``await db.transaction(work)`` calls ``work(tx)``
        and calls it again when the run before committed nothing: after a serialization failure, a deadlock, a changed
        schema or a lost connection. So `work` does nothing that it must not do twice, besides what it does through
        ``tx``.

        Args:
            work: an async function of one connection; None for the block form.
            isolation: ``read_committed``, ``repeatable_read`` or ``serializable``; None for the server's default.
            readonly: refuse writes.
            deferrable: wait for a safe snapshot (with ``serializable`` and `readonly`).
            resolvable: ask for the transaction's id before COMMIT, one more round trip, so that
                ``CommitUnknownError.resolve()`` can look up what became of it.
            attempts: runs in all.

        Raises:
            CommitUnknownError: the connection was lost during COMMIT. A caller cancelled during COMMIT gets a
                CancelledError with it as the cause.
        """
        options = {"isolation": isolation, "readonly": readonly, "deferrable": deferrable}
        if isolation is not None or readonly or deferrable or resolvable:
            _check_options(isolation, readonly=readonly, deferrable=deferrable, resolvable=resolvable)
        if work is None:
            return Transaction(self._desk, options, resolvable=resolvable)
        if not callable(work):
            raise TypeError(
                f"transaction takes an async function of one connection, got {work!r}: pass the function"
            )
        check = Arguments("transaction")
        check.integer("attempts", attempts, minimum=1)
        check.done()
        return run_unit(
            self._desk,
            work,
            options,
            name=self._name,
            attempts=attempts,
            resolvable=resolvable,
            refresh=self._refresh,
        )

    async def fetch(self, query: str, *args: object, timeout: float | None = None) -> list[Record]:
        """Return all rows of one statement.

        Args:
            query: one statement, with ``$1``, ``$2``… for its arguments.
            args: the arguments.
            timeout: seconds, in place of `command_timeout`.
        """
        rows: list[Record] = await self._once("fetch", query, args, {"timeout": timeout})
        return rows

    async def fetchrow(self, query: str, *args: object, timeout: float | None = None) -> Record | None:
        """Return the first row, or None.

        Args:
            query: one statement.
            args: its arguments.
            timeout: seconds, in place of `command_timeout`.
        """
        row: Record | None = await self._once("fetchrow", query, args, {"timeout": timeout})
        return row

    async def fetchval(self, query: str, *args: object, column: int = 0, timeout: float | None = None) -> Any:
        """Return one column of the first row, or None.

        Args:
            query: one statement.
            args: its arguments.
            column: the column's index.
            timeout: seconds, in place of `command_timeout`.
        """
        return await self._once("fetchval", query, args, {"column": column, "timeout": timeout})

    async def execute(self, query: str, *args: object, timeout: float | None = None) -> str:
        """Run one statement, or several without arguments, and return the server's tag, such as ``UPDATE 3``.

        Args:
            query: the statement.
            args: its arguments.
            timeout: seconds, in place of `command_timeout`.
        """
        return str(await self._once("execute", query, args, {"timeout": timeout}))

    async def executemany(self, query: str, args: Iterable[Any], *, timeout: float | None = None) -> None:
        """Run one statement for each sequence of `args`: all of them, or none.

        Args:
            query: the statement.
            args: sequences of arguments.
            timeout: seconds for all, in place of `command_timeout`.
        """
        await self._once("executemany", query, (list(args),), {"timeout": timeout})

    async def _once(self, method: str, query: str, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """Run one statement on a connection of its own; again where the first try provably did nothing."""
        desk = self._desk
        stale = False
        while True:
            connection = await desk.take()
            try:
                return await getattr(connection, method)(query, *args, **options)
            except NotSentError:
                continue
            except Exception as error:
                if stale or not self._retry_stale(connection, error, query):
                    raise
                stale = True
            finally:
                desk.give_back(connection)

    def _retry_stale(self, connection: GuardedConnection, error: Exception, query: str) -> bool:
        """Return True when `error` came from a stale cache and the statement can run again.

        The server refused it, or it ran and its rows could not be read: then only a query is run again.
        """
        import asyncpg

        from prodkit.postgres.operation import is_stale

        if not is_stale(error):
            return False
        self._refresh()
        words = query.split(None, 1)
        reads = bool(words) and words[0].lower() in ("select", "values", "table", "show")
        return reads or not isinstance(error, asyncpg.OutdatedSchemaCacheError)

    def _refresh(self) -> None:
        """Replace every connection before its next use."""
        raise NotImplementedError


def _check_options(isolation: object, **flags: object) -> None:
    check = Arguments("transaction")
    if isolation is not None:
        check.one_of("isolation", isolation, get_args(Isolation))
    for name, flag in flags.items():
        check.instance(name, flag, bool, "True or False")
    check.done()
