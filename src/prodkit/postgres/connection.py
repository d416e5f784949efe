"""asyncpg's connection with our limits, our errors and a reset that leaves nothing to the next borrower.

The only module here that imports asyncpg when it is loaded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import asyncpg

from prodkit.core.deadline import Deadline
from prodkit.errors import CallTimeoutError, DatabaseError, DeadlineExceededError
from prodkit.postgres.failures import NotSentError

__all__ = ["GuardedConnection", "is_lost"]

_ROLLBACK_LIMIT = 5.0
_LOST_CLASSES = ("08", "57P01", "57P02", "57P03", "57P05")


def is_lost(error: BaseException) -> bool:
    """Whether `error` says that the connection is gone, or never came about, rather than that a statement is bad."""
    if isinstance(error, asyncpg.PostgresError):
        return (error.sqlstate or "").startswith(_LOST_CLASSES)
    return isinstance(error, OSError | asyncpg.InternalClientError) and not isinstance(error, TimeoutError)


class GuardedConnection(asyncpg.Connection):
    """A connection whose every statement ends by the sooner of its own limit and the caller's Deadline."""

    __slots__ = ("born", "idle_since", "lifetime", "on_read_only", "resetting", "suspect")

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.born = 0.0
        self.idle_since = 0.0
        self.lifetime = float("inf")
        self.suspect = False
        """Whether a statement was cut short: the connection may be out of step, or its peer gone."""
        self.resetting = False
        self.on_read_only: Callable[[], None] | None = None

    def get_reset_query(self) -> str:
        # Role, session authorization and temporary tables outlive RESET ALL. Same round trip.
        usual = super().get_reset_query()
        return f"RESET SESSION AUTHORIZATION;\n{usual}\nDISCARD TEMP;" if usual else usual

    async def reset(self, *, timeout: float | None = None) -> None:
        self.resetting = True
        try:
            await super().reset(timeout=timeout)
        finally:
            self.resetting = False

    async def execute(self, query: str, *args: object, timeout: float | None = None) -> str:
        if args:
            return await super().execute(query, *args, timeout=timeout)  # arrives in _execute
        if self.resetting or query.startswith("ROLLBACK"):
            limit: float | None = (
                _ROLLBACK_LIMIT if timeout is None else timeout
            )  # must run however late it is
        else:
            limit = self._limit(timeout)
        plain = super().execute
        return str(await self._guarded(lambda left: plain(query, timeout=left), limit))

    async def _execute(self, query: Any, args: Any, limit: Any, timeout: Any, **options: Any) -> Any:
        return await self._guarded(
            lambda left: super(GuardedConnection, self)._execute(query, args, limit, left, **options),  # type: ignore[misc]
            self._limit(timeout),
        )

    async def _executemany(
        self, query: Any, args: Iterable[Any], timeout: Any, *rest: Any, **options: Any
    ) -> Any:
        return await self._guarded(
            lambda left: super(GuardedConnection, self)._executemany(query, args, left, *rest, **options),  # type: ignore[misc]
            self._limit(timeout),
        )

    def _limit(self, timeout: float | None) -> float | None:
        own = self._config.command_timeout if timeout is None else timeout  # type: ignore[attr-defined]
        limit = Deadline.sooner(own)
        if limit is not None and limit <= 0:
            raise DeadlineExceededError("the deadline has passed; the statement was not sent")
        return limit

    async def _guarded(self, call: Callable[[float | None], Awaitable[Any]], limit: float | None) -> Any:
        try:
            return await call(limit)
        except asyncio.CancelledError:
            self.suspect = True
            raise
        except TimeoutError as error:
            self.suspect = True
            if isinstance(error, CallTimeoutError):
                raise
            if Deadline.sooner(None) == 0:
                raise DeadlineExceededError(
                    "the deadline passed while a statement ran; it was cancelled", timeout=limit
                ) from error
            raise CallTimeoutError(
                f"a statement ran for {limit} s and was cancelled", timeout=limit
            ) from error
        except asyncpg.ReadOnlySQLTransactionError:
            if self.on_read_only is not None:
                self.on_read_only()
            raise
        except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError) as error:
            if is_lost(error) or self.is_closed():
                self.suspect = True
                if isinstance(error, asyncpg.InternalClientError) and "cannot switch to state" in str(error):
                    # The server's farewell arrived while the connection lay idle (MagicStack/asyncpg#1069).
                    self.terminate()
                    raise NotSentError("the connection was lost before the statement was sent") from error
                raise DatabaseError(f"the connection was lost: {type(error).__name__}") from error
            raise
