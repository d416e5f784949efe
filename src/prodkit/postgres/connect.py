"""Open connections: within a limit, to the server that fits, and ready to be lent."""

from __future__ import annotations

import asyncio
import ssl as tls
from collections.abc import Callable, Iterator
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, Final

from prodkit.core.runtime import Runtime
from prodkit.core.secrets import Revealable, reveal
from prodkit.errors import DatabaseError
from prodkit.policies.classify import is_lost_connection
from prodkit.postgres.address import Address, Host, for_driver, parse
from prodkit.postgres.codecs import add_json
from prodkit.postgres.events import ConnectFailed, ConnectionOpened
from prodkit.postgres.options import DEFAULT_NAME, ConnectOptions
from prodkit.postgres.race import race

if TYPE_CHECKING:
    from prodkit.postgres.asyncpg_internals import GuardedConnection

__all__ = ["Connector", "ServerFullError"]

_FIRST_WAIT: Final = 0.05
_LONGEST_WAIT: Final = 0.3
_CACHE_SIZE: Final = 100
_BOUND: Final = 1.25  # the server's own limit is a second net below command_timeout

_FACTS: Final = """\
select current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
       - coalesce(nullif(current_setting('reserved_connections', true), '')::int, 0),
       (select coalesce(sum(numbackends), 0)::int from pg_catalog.pg_stat_database)"""


class ServerFullError(ConnectionError):
    """The server has no slot left for us, or too few for everybody else."""


class Connector:
    """Makes the connections of one pool."""

    def __init__(
        self,
        dsn: str | Revealable,
        options: ConnectOptions,
        *,
        pool: str,
        runtime: Runtime,
        on_read_only: Callable[[], None],
        on_schema_change: Callable[[GuardedConnection, bool], None],
    ) -> None:
        self._dsn = dsn
        self.options: ConnectOptions = options
        self._pool = pool
        self._runtime = runtime
        self._on_read_only = on_read_only
        self._on_schema_change = on_schema_change
        self.target: str = ""
        """``target_session_attrs`` in place of the address's; empty leaves that."""
        self._cache_size: int | None = options.statement_cache_size
        self._preferred: Host | None = None
        self._last: BaseException | None = None
        self.through_pooler: bool = False
        """A transaction pooler was found between us and the server."""
        self.slots: int | None = None
        """Connections that the server gives to ordinary users in all; None before it was asked."""
        self.failures: int = 0
        """Attempts that failed so far."""

    @property
    def failing(self) -> bool:
        """True when the latest attempt failed."""
        return self._last is not None

    def pauses(self) -> Iterator[float]:
        """Seconds to wait after each failed attempt: jittered, and short enough to be back soon after the server."""
        wait = _FIRST_WAIT
        while True:
            yield wait * (0.5 + self._runtime.rng.random())
            wait = min(wait * 2, _LONGEST_WAIT)

    def report(self, error: BaseException, pause: float) -> None:
        """Emit that an attempt failed."""
        if self._runtime.events.listened(ConnectFailed):
            name = type(error.__cause__ or error).__name__
            self._runtime.events.emit(ConnectFailed(pool=self._pool, error=name, retry_in=pause))

    async def detect_pooler(self) -> None:
        """Find out whether a transaction pooler stands between us and the server.

        Behind one, the process that answers is not the one that greeted us. It gets no startup parameters, which a
        pooler refuses, and no statement cache.
        """
        for pause in self.pauses():
            try:
                connection = await self._attempt(plain=True)
            except ConnectionError as error:
                self.report(error, pause)
                await self._runtime.clock.sleep(pause)
                continue
            try:
                pid = await connection.fetchval("select pg_backend_pid()")
                self.through_pooler = pid != connection.get_server_pid()
            finally:
                connection.terminate() if connection.is_closed() else await connection.close(timeout=1.0)
            if self._cache_size is None:
                self._cache_size = 0 if self.through_pooler else _CACHE_SIZE
            return

    async def open(self, *, others: int = 0) -> GuardedConnection:
        """Make one connection, ready to be lent.

        Args:
            others: connections that the pool has already; with none, the slots reserved for others do not count.

        Raises:
            ServerFullError: the server has no slot left for us.
            ConnectionError: another attempt may succeed.
            DatabaseError: another attempt cannot succeed.
        """
        began = self._runtime.clock.monotonic()
        connection = await self._attempt(plain=self.through_pooler)
        try:
            async with asyncio.timeout(self.options.connect_timeout):
                if not self.through_pooler:
                    await self._look_for_room(connection, others)
                if self.options.init is not None:
                    await self.options.init(connection)
        except ServerFullError as error:
            self._failed(error)
            connection.terminate()
            raise
        except (OSError, DatabaseError) as error:
            self._failed(error)
            connection.terminate()
            raise ConnectionError(type(error).__name__) from error
        except BaseException:
            connection.terminate()
            raise
        self._last = None
        now = self._runtime.clock.monotonic()
        connection.born = connection.idle_since = now
        # Connections opened together must not end together.
        connection.ends = now + self.options.max_lifetime * (1.0 - 0.1 * self._runtime.rng.random())
        connection.guard.on_read_only = self._on_read_only
        connection.on_schema_change = self._on_schema_change
        if self._runtime.events.listened(ConnectionOpened):
            self._runtime.events.emit(ConnectionOpened(pool=self._pool, took=now - began))
        return connection

    async def _look_for_room(self, connection: GuardedConnection, others: int) -> None:
        row = await connection.fetchrow(_FACTS)
        if row is None:
            return
        self.slots = int(row[0])
        if others and int(row[1]) > self.slots - self.options.reserved_slots:
            raise ServerFullError(f"{row[1]} of {row[0]} slots of the server are taken")

    async def _attempt(self, *, plain: bool) -> GuardedConnection:
        """One connect, without what makes it ours: codecs are set, nothing was asked."""
        import asyncpg

        dsn = reveal(self._dsn)
        address = parse(dsn, sslmode=self.options.ssl if isinstance(self.options.ssl, str) else "")
        if address.problem:
            raise self._unusable(address.problem)
        try:
            async with asyncio.timeout(self.options.connect_timeout):
                connection = await self._reach(dsn, address, plain)
        except tls.SSLError as error:  # before ValueError, which a certificate's error is as well
            self._failed(error)
            raise _refusal(error) from error
        except (ValueError, asyncpg.ClientConfigurationError):
            # urllib, int() and asyncpg repeat parts of the address: a piece of the password, at worst.
            raise self._unusable("check it with env.PostgresUrl") from None
        except FileNotFoundError as error:
            if error.filename is None:  # a Unix socket whose server has not started
                self._failed(error)
                raise ConnectionError(type(error).__name__) from error
            raise self._unusable("a certificate or key file in it does not exist") from None
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
            self._failed(error)
            raise _refusal(error) from error
        try:
            async with asyncio.timeout(self.options.connect_timeout):
                await self._dress(connection, plain)
        except TimeoutError as error:
            connection.terminate()
            self._failed(error)
            raise ConnectionError(type(error).__name__) from error
        except BaseException:
            connection.terminate()
            raise
        return connection

    async def _dress(self, connection: GuardedConnection, plain: bool) -> None:
        connection.keep_alive()
        connection.guard.through_pooler = self.through_pooler
        if not plain:
            connection.guard.default_bound = connection.guard.server_bound = self._server_limit or inf
        try:
            if self.options.json:
                await add_json(connection)
        except (OSError, DatabaseError) as error:
            self._failed(error)
            raise ConnectionError(type(error).__name__) from error

    async def _reach(self, dsn: str, address: Address, plain: bool) -> GuardedConnection:
        hosts = list(address.hosts)
        if len(hosts) < 2:
            return await self._connect(for_driver(dsn), address, None, self.target or address.target, plain)
        target = self.target or address.target or "read-write"
        if self._preferred in hosts:
            hosts.sort(key=lambda host: host != self._preferred)
        driver = for_driver(dsn, one_host=True)
        host, connection = await race(
            [(host, partial(self._connect, driver, address, host, target, plain)) for host in hosts],
            discard=lambda connection: connection.terminate(),
        )
        self._preferred = host
        return connection

    async def _connect(
        self, dsn: str, address: Address, host: Host | None, target: str, plain: bool
    ) -> GuardedConnection:
        import asyncpg

        from prodkit.postgres.asyncpg_internals import GuardedConnection

        options: dict[str, Any] = {}
        if host is not None:
            options |= {"host": host.name, "port": host.port or 5432}
        if target:
            options["target_session_attrs"] = target
        if self.options.ssl is not None:
            options["ssl"] = self.options.ssl
        cache = 0 if self._cache_size is None else self._cache_size
        connection: Any = await asyncpg.connect(
            dsn,
            timeout=self.options.connect_timeout,
            command_timeout=self.options.command_timeout,
            statement_cache_size=cache,
            connection_class=GuardedConnection,
            server_settings=self._settings(plain, address.application_name),
            **options,
        )
        return connection  # type: ignore[no-any-return]

    @property
    def _server_limit(self) -> float | None:
        if "statement_timeout" in self.options.server_settings:
            return None
        return self.options.command_timeout * _BOUND

    def _settings(self, plain: bool, application_name: str) -> dict[str, str]:
        name = self.options.application_name
        settings = {
            "application_name": application_name if application_name and name == DEFAULT_NAME else name
        }
        if not plain:
            if (limit := self._server_limit) is not None:
                settings["statement_timeout"] = str(max(1, int(limit * 1000)))
            if (idle := self.options.idle_in_transaction_timeout) is not None:
                settings["idle_in_transaction_session_timeout"] = str(max(1, int(idle * 1000)))
        return settings | dict(self.options.server_settings)

    def _failed(self, error: BaseException) -> None:
        self.failures += 1
        self._last = error

    def _unusable(self, why: str) -> DatabaseError:
        self.failures += 1
        self._last = None
        return DatabaseError(f"the address of the database cannot be used: {why}")

    def unreachable(self, waited: float) -> DatabaseError:
        """Return the error for a caller that waited in vain for a server."""
        why = _said(self._last) if self._last is not None else "it does not answer"
        error = DatabaseError(f"the database could not be reached within {waited:.2f} s: {why}")
        error.__cause__ = self._last
        return error


def _said(error: BaseException) -> str:
    """The words of the server or the system; neither repeats a password."""
    text = str(error).splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__


def _refusal(error: Exception) -> Exception:
    """Return our error for one of a connect: a ConnectionError where another attempt may succeed."""
    import asyncpg

    if isinstance(error, tls.SSLError):
        return DatabaseError(f"TLS with the database failed: {_said(error)}")
    if type(error) is ConnectionError and "rejected SSL upgrade" in str(error):  # asyncpg's words
        return DatabaseError("TLS with the database failed: the server does not speak it")
    if isinstance(error, asyncpg.TooManyConnectionsError):
        return ServerFullError(type(error).__name__)
    if isinstance(error, OSError | asyncpg.InternalClientError) or is_lost_connection(error):
        return ConnectionError(type(error).__name__)
    return DatabaseError(f"the server refused the connection: {_said(error)}")
