"""Opening connections: with a limit, a few at a time, and again while the server is away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from prodkit.core.runtime import Runtime
from prodkit.core.secrets import Revealable, reveal
from prodkit.errors import DatabaseError
from prodkit.postgres.events import ConnectFailed

if TYPE_CHECKING:
    from prodkit.postgres.connection import GuardedConnection

__all__ = ["Connector"]

T = TypeVar("T")
_AT_ONCE = 2  # a burst must not open fifty backends in the same instant
_FIRST_WAIT = 0.05
_LONGEST_WAIT = 0.3


class Connector:
    """Makes the connections of one pool."""

    def __init__(
        self,
        dsn: str | Revealable,
        *,
        pool: str,
        command_timeout: float,
        connect_timeout: float,
        max_lifetime: float,
        statement_cache_size: int | None,
        application_name: str,
        runtime: Runtime,
        on_read_only: Callable[[], None],
    ) -> None:
        self._dsn = dsn
        self._pool = pool
        self._command_timeout = command_timeout
        self.connect_timeout = connect_timeout
        self._max_lifetime = max_lifetime
        self._statement_cache_size = statement_cache_size
        self._application_name = application_name
        self._runtime = runtime
        self._on_read_only = on_read_only
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._last: BaseException | None = None
        self.failures = 0
        """Attempts that failed so far."""

    @property
    def failing(self) -> bool:
        """Whether the latest attempt failed."""
        return self._last is not None

    async def open(self, *_: object, **__: object) -> GuardedConnection:
        """A new connection for asyncpg's pool, in turn. Raises what :meth:`once` raises."""
        async with self._turns:
            return await self.once()

    async def persist(self, what: Callable[[], Awaitable[T]]) -> T:
        """Calls `what` until it works or its caller gives up, unless trying cannot help."""
        for pause in self.pauses():
            try:
                return await what()
            except OSError as error:
                self.tell(error, pause)
                await self._runtime.clock.sleep(pause)
        raise AssertionError("unreachable")

    def pauses(self) -> Iterator[float]:
        """How long to wait after each failed attempt: jittered, and short enough to be back soon after the server."""
        wait = _FIRST_WAIT
        while True:
            yield wait * (0.5 + self._runtime.rng.random())
            wait = min(wait * 2, _LONGEST_WAIT)

    def tell(self, error: BaseException, pause: float) -> None:
        """Emits that an attempt failed."""
        if self._runtime.events.listened(ConnectFailed):
            name = type(error.__cause__ or error).__name__
            self._runtime.events.emit(ConnectFailed(pool=self._pool, error=name, retry_in=pause))

    async def once(self, *, cache: int | None = None) -> GuardedConnection:
        """One attempt. Raises OSError where another may succeed, DatabaseError where it cannot."""
        import asyncpg

        from prodkit.postgres.connection import GuardedConnection, is_lost

        size = self._statement_cache_size if cache is None else cache
        try:
            async with asyncio.timeout(self.connect_timeout):
                connection: Any = await asyncpg.connect(
                    reveal(self._dsn),
                    timeout=self.connect_timeout,
                    command_timeout=self._command_timeout,
                    statement_cache_size=100 if size is None else size,
                    connection_class=GuardedConnection,
                    server_settings={"application_name": self._application_name},
                )
        except (ValueError, asyncpg.ClientConfigurationError):
            self.failures += 1
            self._last = None
            # urllib, int() and asyncpg repeat parts of the address: a piece of the password, at worst.
            raise DatabaseError(
                "the address of the database cannot be used: check it with env.PostgresUrl"
            ) from None
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
            self.failures += 1
            self._last = error
            again = (
                isinstance(error, OSError | asyncpg.TooManyConnectionsError)
                or is_lost(error)
                or isinstance(error, asyncpg.InternalClientError)
            )
            if again:
                raise ConnectionError(f"{type(error).__name__}") from error
            raise DatabaseError(f"the server refused the connection: {_told(error)}") from error
        self._last = None
        now = self._runtime.clock.monotonic()
        connection.born = connection.idle_since = now
        # Connections opened together must not end together.
        connection.lifetime = self._max_lifetime * (1.0 - 0.1 * self._runtime.rng.random())
        connection.on_read_only = self._on_read_only
        return connection  # type: ignore[no-any-return]

    async def detect_pooler(self) -> None:
        """Turns the statement cache off where a transaction pooler stands between us and the server.

        Behind one, the process that answers is not the one that greeted us.
        """
        if self._statement_cache_size is not None:
            return
        connection = await self.persist(lambda: self.once(cache=0))
        try:
            direct = await connection.fetchval("select pg_backend_pid()") == connection.get_server_pid()
        finally:
            await connection.close(timeout=1.0)
        self._statement_cache_size = 100 if direct else 0

    def unreachable(self, waited: float | None) -> DatabaseError:
        """The error for a caller that waited for a server in vain."""
        why = _told(self._last) if self._last is not None else "it does not answer"
        error = DatabaseError(f"the database could not be reached within {waited or 0:.2f} s: {why}")
        error.__cause__ = self._last
        return error


def _told(error: BaseException) -> str:
    """What the server or the system said; neither repeats a password."""
    text = str(error).splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
