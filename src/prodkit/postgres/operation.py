"""One operation that waits for the server, and the error that its caller shall see."""

from __future__ import annotations

import asyncio
from typing import Any, Final, Self

import asyncpg

from prodkit.core.deadline import Deadline
from prodkit.errors import CallTimeoutError, DatabaseError
from prodkit.policies.classify import is_lost_connection
from prodkit.postgres.outcome import NotSentError
from prodkit.postgres.time_limits import timed_out

__all__ = ["Operation", "is_stale"]

_SPEAKS_OF_LOSS: Final = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
)


def is_stale(error: BaseException) -> bool:
    """Return True when `error` comes from a statement or type that was cached before the schema changed."""
    if isinstance(error, asyncpg.InvalidCachedStatementError | asyncpg.OutdatedSchemaCacheError):
        return True
    return isinstance(error, asyncpg.InternalServerError) and "cache lookup failed" in str(error)


class Operation:
    """One operation that waits for the server: it is counted, and its error becomes the one that the caller shall see.

    Args:
        guard: the :class:`GuardedProtocol` that runs it.
        limit: its seconds.
    """

    __slots__ = ("_guard", "_limit", "callers")

    def __init__(self, guard: Any, limit: float | None) -> None:
        self._guard = guard
        self._limit = limit
        self.callers: bool = False
        """The error is the caller's own, of its arguments or its source, and stays as it is."""

    def __enter__(self) -> Self:
        self._guard.running += 1
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        self._guard.running -= 1
        if error is None or self.callers:
            return
        seen = self._seen(error)
        if seen is not error:
            raise seen from error

    def _seen(self, error: BaseException) -> BaseException:
        """Return the error that the caller shall see: asyncpg's own, or ours."""
        guard = self._guard
        if isinstance(error, asyncio.CancelledError):
            guard.suspect = True
            return error
        if isinstance(error, TimeoutError):
            guard.suspect = True
            return error if isinstance(error, CallTimeoutError) else timed_out(self._limit)
        if isinstance(error, asyncpg.QueryCanceledError):
            left = Deadline.sooner(None)
            if left is not None and left < 0.05:
                return timed_out(self._limit)
        elif isinstance(error, asyncpg.ReadOnlySQLTransactionError):
            if guard.on_read_only is not None and not guard.read_only_asked:
                guard.on_read_only()
        elif isinstance(error, _SPEAKS_OF_LOSS) and (
            is_lost_connection(error) or not (guard.is_connected() or is_stale(error))
        ):
            guard.suspect = True
            if isinstance(error, asyncpg.InternalClientError) and "cannot switch to state" in str(error):
                # The server's last message arrived while the connection was idle (MagicStack/asyncpg#1069).
                guard.abort()
                return NotSentError("the connection was lost before the statement was sent")
            return DatabaseError(f"the connection was lost: {type(error).__name__}")
        return error
