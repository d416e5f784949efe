"""The pool of connections that a service shares."""

from __future__ import annotations

from collections.abc import Mapping
from ssl import SSLContext
from typing import TYPE_CHECKING, Any

from prodkit.core.check import CheckResult
from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.core.secrets import Revealable
from prodkit.core.validate import Arguments
from prodkit.postgres.checkout import Checkout, Desk
from prodkit.postgres.connect import Connector
from prodkit.postgres.events import PoolDemoted
from prodkit.postgres.health import Probe, verdict
from prodkit.postgres.inventory import Inventory
from prodkit.postgres.lifecycle import Lifecycle
from prodkit.postgres.options import ConnectOptions, checked
from prodkit.postgres.replicas import Reader, Replicas
from prodkit.postgres.stats import PoolStats
from prodkit.postgres.upkeep import Upkeep

if TYPE_CHECKING:
    from prodkit.postgres.asyncpg_internals import GuardedConnection
    from prodkit.postgres.options import Init

__all__ = ["Pool"]


class Pool(Lifecycle):
    """Connections to one PostgreSQL database, for ``async with`` or :func:`prodkit.running`.

    ::

        async with postgres.Pool(settings.database_url) as db:
            rows = await db.fetch("select name from expert where id = $1", 7)
            async with db.transaction() as tx:
                await tx.execute("insert into …")

    Nothing waits without a limit: a connection for `acquire_timeout`, a statement for `command_timeout`, both never
    beyond the caller's Deadline. While the server is down or out of slots, callers wait within their limit and
    connecting is retried; waiters are served in order. A returned connection is reset by the pool, not by its
    borrower: settings, role, temporary tables, locks and listeners of one borrower never reach the next.

    Args:
        dsn: the address, ``postgresql://user:password@host:5432/database``. Several servers are written
            ``host1,host2``: the one that takes writes is used, also after a failover. A value that hides it, such as
            ``env.PostgresUrl``, is revealed for each connect, so that a changed password is used.
        environment: ``development``, ``test``, ``staging`` or ``production``: chooses `min_size` and `max_size` where
            these are not given (5–20 in development and test, 10–50 in staging and production).
        min_size: connections kept open. Raise it when bursts follow quiet times.
        max_size: most connections. Past about ten a core of the server more make it slower.
        acquire_timeout: seconds that a caller waits for a connection.
        command_timeout: seconds for each statement that has no ``timeout=`` of its own.
        connect_timeout: seconds for one connect, `init` included.
        max_lifetime: seconds after which a connection is replaced, less up to 10 % so that not all end at once.
        idle_timeout: seconds after which an unused connection above `min_size` is closed; None keeps it.
        keepalive: seconds after which an idle connection is pinged, so that one whose peer is gone is found before a
            caller gets it; None: never. Lower it behind a firewall that forgets idle connections.
        leak_threshold: seconds after which ``pool.held_long`` names the line that acquired a connection; None: never.
        close_timeout: seconds that :meth:`aclose` waits for borrowers before it cuts them off.
        idle_in_transaction_timeout: seconds after which the server ends a session that waits inside a transaction;
            None leaves the server's setting. Not sent through a pooler.
        statement_cache_size: prepared statements kept for each connection. None: 100, and 0 behind a transaction
            pooler, which is detected.
        application_name: the name in ``pg_stat_activity``; one in `dsn` is used unless another one is given here.
        server_settings: parameters of each session, such as ``{"search_path": "app"}``. A reset brings them back,
            which a ``SET`` in `init` would not survive.
        ssl: an ``ssl.SSLContext``, True, False, or a mode such as ``"require"``; None reads ``sslmode`` of `dsn`.
        json: json and jsonb arrive as Python values and are written from them. False: as text.
        init: an async function called with each new connection, for codecs and extensions such as pgvector.
        fleet: pools of this size that share the server (replicas × workers). ``pool.oversized`` warns at the start
            when their sum does not fit.
        reserved_slots: connections of the server that growing leaves free, for people and other services.
        replicas: the address of read replicas for :attr:`read`, or True for the standbys among the hosts of `dsn`;
            None: reads go to the primary.
        max_lag: seconds that a replica may be behind before :attr:`read` uses the primary.
        name: the name in health, events and errors.
        runtime: clock, random generator and events.
    """

    def __init__(
        self,
        dsn: str | Revealable,
        *,
        environment: str | None = None,
        min_size: int | None = None,
        max_size: int | None = None,
        acquire_timeout: float = 5.0,
        command_timeout: float = 30.0,
        connect_timeout: float = 3.0,
        max_lifetime: float = 1800.0,
        idle_timeout: float | None = 300.0,
        keepalive: float | None = 60.0,
        leak_threshold: float | None = 30.0,
        close_timeout: float = 8.0,
        idle_in_transaction_timeout: float | None = 60.0,
        statement_cache_size: int | None = None,
        application_name: str = "prodkit",
        server_settings: Mapping[str, str] | None = None,
        ssl: SSLContext | str | bool | None = None,
        json: bool = True,
        init: Init | None = None,
        fleet: int = 1,
        reserved_slots: int = 3,
        replicas: str | Revealable | bool | None = None,
        max_lag: float = 5.0,
        name: str = "postgres",
        runtime: Runtime = SYSTEM,
    ) -> None:
        min_size, max_size = checked(
            dsn=dsn,
            environment=environment,
            min_size=min_size,
            max_size=max_size,
            seconds={
                "acquire_timeout": acquire_timeout,
                "command_timeout": command_timeout,
                "connect_timeout": connect_timeout,
                "max_lifetime": max_lifetime,
                "close_timeout": close_timeout,
                "max_lag": max_lag,
            },
            optional={
                "idle_timeout": idle_timeout,
                "keepalive": keepalive,
                "leak_threshold": leak_threshold,
                "idle_in_transaction_timeout": idle_in_transaction_timeout,
            },
            statement_cache_size=statement_cache_size,
            application_name=application_name,
            server_settings=server_settings,
            ssl=ssl,
            json=json,
            init=init,
            fleet=fleet,
            reserved_slots=reserved_slots,
            replicas=replicas,
            name=name,
            runtime=runtime,
        )
        self._name = name
        self._acquire_timeout = acquire_timeout
        self._close_timeout = close_timeout
        self._runtime = runtime
        options = ConnectOptions(
            command_timeout=command_timeout,
            connect_timeout=connect_timeout,
            max_lifetime=max_lifetime,
            idle_in_transaction_timeout=idle_in_transaction_timeout,
            statement_cache_size=statement_cache_size,
            application_name=application_name,
            server_settings=dict(server_settings or {}),
            ssl=ssl,
            json=json,
            init=init,
            reserved_slots=reserved_slots,
        )
        self._connector = Connector(
            dsn,
            options,
            pool=name,
            runtime=runtime,
            on_read_only=self._on_read_only,
            on_schema_change=self._on_schema_change,
        )
        self._inventory = Inventory(
            name=name,
            min_size=min_size,
            max_size=max_size,
            reserved_slots=reserved_slots,
            connector=self._connector,
            runtime=runtime,
        )
        self._desk = Desk(self._inventory, name=name, timeout=acquire_timeout, runtime=runtime)
        self._probe = Probe(self._connector)
        self._upkeep = Upkeep(
            self._desk,
            name=name,
            keepalive=keepalive,
            idle_timeout=idle_timeout,
            leak_threshold=leak_threshold,
            fleet=fleet,
            reserved_slots=reserved_slots,
        )
        self._replicas: Replicas | None = None
        if replicas:
            address = dsn if replicas is True else replicas
            self._replicas = Replicas(self, self._twin(address, options, max_size), max_lag=max_lag)

    def _twin(self, dsn: Any, options: ConnectOptions, max_size: int) -> Pool:
        pool = Pool(
            dsn,
            min_size=0,
            max_size=max_size,
            acquire_timeout=self._acquire_timeout,
            command_timeout=options.command_timeout,
            connect_timeout=options.connect_timeout,
            max_lifetime=options.max_lifetime,
            close_timeout=self._close_timeout,
            statement_cache_size=options.statement_cache_size,
            application_name=options.application_name,
            server_settings=options.server_settings,
            ssl=options.ssl,
            json=options.json,
            init=options.init,
            name=f"{self._name}-read",
            runtime=self._runtime,
        )
        pool._connector.target = "prefer-standby"
        return pool

    @property
    def name(self) -> str:
        """The name of this pool in health and events."""
        return self._name

    @property
    def read(self) -> Reader:
        """Reads on a replica that is not too far behind, else on the primary; on this pool without ``replicas=``."""
        return Reader(self, self._replicas)

    def acquire(self, *, timeout: float | None = None) -> Checkout:
        """Borrow one connection: ``async with db.acquire() as connection``.

        ``connection = await db.acquire()`` works too; then :meth:`release` must give it back.

        Args:
            timeout: seconds to wait, in place of `acquire_timeout`.

        Raises:
            PoolExhaustedError: none became free in time.
            DatabaseError: the server could not be reached, or refuses us.
            DeadlineExceededError: the deadline came first.
            DrainingError: the pool is closing.
        """
        if timeout is not None:
            check = Arguments("acquire")
            check.seconds("timeout", timeout, zero=True)
            check.done()
        return Checkout(self._desk, timeout)

    async def release(self, connection: Any) -> None:
        """Give back a connection of ``await db.acquire()``.

        One that the pool has back already is left alone: given back before, lost or closed, or cut off by
        :meth:`aclose`.

        Args:
            connection: what ``acquire()`` returned.

        Raises:
            TypeError: it is no connection of a pool. It is also an ``asyncpg.InterfaceError``, as the next one.
            ValueError: it belongs to another pool.
        """
        from prodkit.postgres.asyncpg_internals import PooledConnection
        from prodkit.postgres.misuse import ForeignConnectionError, NoConnectionError

        if not isinstance(connection, PooledConnection):
            kind = type(connection).__name__
            raise NoConnectionError(
                f"release takes a connection of acquire(), got {kind}, which is not a member of a pool"
            )
        found = connection.connection
        if found is not None:
            if found.home is not self._inventory:
                raise ForeignConnectionError(
                    f"the connection is not a member of the pool {self._name!r}: it belongs to another pool"
                )
            connection._detach()
            self._desk.give_back(found)

    def _refresh(self) -> None:
        self._inventory.generation += 1

    async def expire_connections(self) -> None:
        """Replace every connection before its next use: after a schema change, a failover, a new password."""
        self._refresh()

    def stats(self) -> PoolStats:
        """Return the pool in numbers."""
        return self._desk.stats()

    async def check(self) -> CheckResult:
        """Ask the server over a connection of its own, so that a full pool is not taken for a dead server.

        ``details["verdict"]`` is ``up``, ``saturated`` or ``read_only`` (both degraded), or ``down``.
        """
        if not self.running:
            return CheckResult("down", "the pool is not running", {"verdict": "down"})
        return verdict(await self._probe.ask(), self.stats())

    def __repr__(self) -> str:
        sizes = f"min_size={self._inventory.min_size}, max_size={self._inventory.max_size}"
        state = "not started" if self._desk.state == "new" else self._desk.state
        return f"Pool({self._name!r}, {sizes}, {state})"

    def _on_read_only(self) -> None:
        if self._connector.target in ("standby", "prefer-standby", "read-only"):
            return  # it is meant to read
        self._refresh()
        if self._runtime.events.listened(PoolDemoted):
            self._runtime.events.emit(PoolDemoted(pool=self._name))

    def _on_schema_change(self, connection: GuardedConnection, types: bool) -> None:
        for each in (*self._inventory.idle, *self._inventory.lent, *self._inventory.pending):
            if each is not connection:
                each.drop_caches(types=types)
