"""asyncpg's connection with our limits and errors, and everything of asyncpg that is not public.

The only module here that imports asyncpg when it is loaded, and the only one that touches its private attributes:
``_execute``, ``_executemany``, ``_check_open``, ``_cleanup``, ``_unwrap``, ``_drop_global_statement_cache``,
``_drop_global_type_cache``, ``_drop_local_statement_cache``, ``_drop_local_type_cache``, ``_on_release``,
``_top_xact``, ``_pool_release_ctr``, ``_listeners``, ``_log_listeners``, ``_protocol.query``, ``_transport``,
``_config.command_timeout`` and ``PoolConnectionProxy._con``. Read from asyncpg 0.32.0;
``tests/postgres/test_asyncpg_internals.py`` holds them to it.
"""

from __future__ import annotations

import asyncio
import re
import select
import socket
import weakref
from collections.abc import Callable, Iterable
from math import inf, isnan, nan
from typing import TYPE_CHECKING, Any, Final

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from prodkit.core.deadline import Deadline
from prodkit.errors import CallTimeoutError, DatabaseError, DeadlineExceededError, InvalidError
from prodkit.postgres.outcome import NotSentError

if TYPE_CHECKING:
    _Proxy = PoolConnectionProxy[asyncpg.Record]
else:
    _Proxy = PoolConnectionProxy

__all__ = ["GuardedConnection", "PooledConnection", "is_lost", "is_stale"]

_ROLLBACK_LIMIT: Final = 5.0
_LOST_CLASSES: Final = ("08", "57P01", "57P02", "57P03", "57P05")
_CONTROL: Final = re.compile(
    r"(BEGIN[A-Z ]*|COMMIT|ROLLBACK( TO \w+)?|SAVEPOINT \w+|RELEASE SAVEPOINT \w+);\Z"
)
_SESSION_STATE: Final = re.compile(r"^\s*listen\b|\bpg_(?:try_)?advisory_lock\b", re.IGNORECASE)

_SPEAKS_OF_LOSS: Final = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
)

_DEALLOCATE: Final = """
DO $prodkit$ DECLARE s text; BEGIN
  FOR s IN SELECT name FROM pg_catalog.pg_prepared_statements WHERE from_sql LOOP
    EXECUTE pg_catalog.format('DEALLOCATE %I', s);
  END LOOP;
END $prodkit$;"""


def is_lost(error: BaseException) -> bool:
    """Return True when `error` says that the connection is gone, not that a statement is bad."""
    if isinstance(error, asyncpg.PostgresError):
        return (error.sqlstate or "").startswith(_LOST_CLASSES)
    if isinstance(error, asyncpg.OutdatedSchemaCacheError | TimeoutError):
        return False  # the first is an InternalClientError, the second an OSError
    return isinstance(error, OSError | asyncpg.InternalClientError)


def is_stale(error: BaseException) -> bool:
    """Return True when `error` comes from a statement or type that was cached before the schema changed."""
    if isinstance(error, asyncpg.InvalidCachedStatementError | asyncpg.OutdatedSchemaCacheError):
        return True
    return isinstance(error, asyncpg.InternalServerError) and "cache lookup failed" in str(error)


class GuardedConnection(asyncpg.Connection):
    """A connection whose every statement ends by the sooner of its own limit and the caller's Deadline.

    The attributes below ``suspect`` are the pool's records about it.
    """

    __slots__ = (
        "_full_reset",
        "_poll",
        "born",
        "commit_failed",
        "default_bound",
        "ends",
        "generation",
        "handle",
        "holder",
        "idle_since",
        "leaving",
        "on_closed",
        "on_read_only",
        "on_schema_change",
        "reported",
        "server_bound",
        "site",
        "sql_prepared",
        "suspect",
        "taken",
        "through_pooler",
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._full_reset: str | None = None
        self._poll: select.poll | None = None
        self.suspect: bool = False
        """A statement was cut short: the connection may be out of step, or its peer gone."""
        self.leaving: bool = False
        """Closed on purpose, not lost."""
        self.through_pooler: bool = False
        """A transaction pooler stands between: nothing of the session may be changed."""
        self.sql_prepared: bool = False
        self.commit_failed: bool = False
        """The server answered ROLLBACK to the last COMMIT: a statement had failed before it."""
        self.default_bound: float = inf
        """The ``statement_timeout`` that a reset brings back, in seconds."""
        self.server_bound: float = inf
        """The one in force; ``nan`` when a rollback made it unknown."""
        self.on_closed: Callable[[GuardedConnection], None] | None = None
        self.on_read_only: Callable[[], None] | None = None
        self.on_schema_change: Callable[[GuardedConnection, bool], None] | None = None
        self.born: float = 0.0
        self.ends: float = inf
        self.generation: int = 0
        self.idle_since: float = 0.0
        self.taken: float = 0.0
        self.holder: asyncio.Task[Any] | None = None
        self.site: tuple[str, int] | None = None
        self.reported: bool = False
        self.handle: weakref.ref[PooledConnection] | None = None

    # --- what asyncpg calls ---

    async def execute(self, query: str, *args: object, timeout: float | None = None) -> str:
        if args:
            return await super().execute(query, *args, timeout=timeout)  # arrives in _execute
        self._look_at(query)
        if _CONTROL.match(query):
            return await self._control(query, timeout)
        limit = self._limit(timeout)
        try:
            if self._bound_is_off(limit):
                await self._set_bound(limit)
            return await super().execute(query, timeout=limit)
        except BaseException as error:
            if (seen := self._translated(error, limit)) is not error:
                raise seen from error
            raise

    async def _control(self, query: str, timeout: float | None) -> str:
        """Run BEGIN, COMMIT or ROLLBACK as asyncpg's Transaction spells them."""
        if query.startswith("ROLLBACK"):
            limit: float | None = _ROLLBACK_LIMIT if timeout is None else timeout  # however late it is
            if self.server_bound != self.default_bound:
                self.server_bound = nan
        else:
            limit = self._limit(timeout)
            if query.startswith("BEGIN") and limit is not None and Deadline.instant() != inf:
                query += f" SET LOCAL statement_timeout = {_milliseconds(limit)}"  # the same round trip
                self.server_bound = limit
        try:
            status = await super().execute(query, timeout=limit)
        except BaseException as error:
            if (seen := self._translated(error, limit)) is not error:
                raise seen from error
            raise
        if query == "COMMIT;":
            if self.server_bound != self.default_bound:
                self.server_bound = nan
            self.commit_failed = status == "ROLLBACK"
        return status

    async def _execute(self, query: Any, args: Any, limit: Any, timeout: Any, **options: Any) -> Any:
        left = self._limit(timeout)
        self._look_at(query)
        try:
            if self._bound_is_off(left):
                await self._set_bound(left)
            return await super()._execute(query, args, limit, left, **options)  # type: ignore[misc]
        except BaseException as error:
            if (seen := self._translated(error, left)) is not error:
                raise seen from error
            raise

    async def _executemany(
        self, query: Any, args: Iterable[Any], timeout: Any, *rest: Any, **options: Any
    ) -> Any:
        left = self._limit(timeout)
        try:
            if self._bound_is_off(left):
                await self._set_bound(left)
            return await super()._executemany(query, args, left, *rest, **options)  # type: ignore[misc]
        except BaseException as error:
            if (seen := self._translated(error, left)) is not error:
                raise seen from error
            raise

    async def add_listener(self, channel: str, callback: Any) -> None:
        if self.through_pooler:
            raise self._needs_a_session("LISTEN")
        await super().add_listener(channel, callback)

    async def close(self, *, timeout: float | None = None) -> None:
        self.leaving = True
        await super().close(timeout=timeout)

    def terminate(self) -> None:
        self.leaving = True
        super().terminate()

    def _cleanup(self) -> None:
        super()._cleanup()  # type: ignore[misc]
        if self.on_closed is not None:
            on_closed, self.on_closed = self.on_closed, None
            on_closed(self)

    def _check_open(self) -> None:
        if self.is_closed() and not self.leaving:
            raise DatabaseError("the connection was lost")
        super()._check_open()  # type: ignore[misc]

    def _unwrap(self) -> Any:
        """Return what listeners see: the borrower's handle where there is one."""
        handle = self.handle() if self.handle is not None else None
        return self if handle is None else handle

    def _drop_global_statement_cache(self) -> None:
        self.drop_caches()
        if self.on_schema_change is not None:
            self.on_schema_change(self, False)

    def _drop_global_type_cache(self) -> None:
        self.drop_caches(types=True)
        if self.on_schema_change is not None:
            self.on_schema_change(self, True)

    # --- limits ---

    def _limit(self, timeout: float | None) -> float | None:
        own: float | None
        if timeout is None:
            own = self._config.command_timeout  # type: ignore[attr-defined]
        elif isinstance(timeout, bool) or not isinstance(timeout, int | float):
            raise ValueError(f"invalid timeout value: expected a number of seconds, got {timeout!r}")
        else:
            own = timeout
        if Deadline.instant() == inf:
            return own
        left = Deadline.sooner(own)
        if left == 0.0 and (own is None or own > 0):
            raise DeadlineExceededError("the deadline has passed; the statement was not sent")
        return left

    def _bound_is_off(self, limit: float | None) -> bool:
        """Return True when the server's own limit has to be set before the statement, which costs a round trip.

        It is the only limit left when the network is gone and no cancel request arrives. Within a factor of four
        of the deadline it is near enough; below the statement's limit it would cut it short.
        """
        bound = self.server_bound
        if bound == inf and self.default_bound == inf:
            return False
        wanted = inf if limit is None else limit
        if wanted > bound:
            return True
        if Deadline.instant() == inf:
            return isnan(bound)
        return not bound <= wanted * 4

    async def _set_bound(self, limit: float | None) -> None:
        await self.wire(f"SET statement_timeout = {_milliseconds(limit)}", limit)
        self.server_bound = inf if limit is None else limit

    def _look_at(self, query: str) -> None:
        if "prepare" in query or "PREPARE" in query or "Prepare" in query:
            self.sql_prepared = True
        if self.through_pooler and _SESSION_STATE.search(query):
            raise self._needs_a_session("a session lock or LISTEN")

    @staticmethod
    def _needs_a_session(what: str) -> InvalidError:
        return InvalidError(
            f"{what} does not work through a transaction pooler, which changes the server connection with every "
            "transaction: connect to the server directly for it"
        )

    def _translated(self, error: BaseException, limit: float | None) -> BaseException:
        """Return the error that the caller shall see: asyncpg's own, or ours with asyncpg's as its cause."""
        if isinstance(error, asyncio.CancelledError):
            self.suspect = True
            return error
        if isinstance(error, TimeoutError):
            self.suspect = True
            return error if isinstance(error, CallTimeoutError) else _timed_out(limit)
        if isinstance(error, asyncpg.QueryCanceledError):
            left = Deadline.sooner(None)
            if left is not None and left < 0.05:
                return _timed_out(limit)
        elif isinstance(error, asyncpg.ReadOnlySQLTransactionError):
            if self.on_read_only is not None:
                self.on_read_only()
        elif isinstance(error, _SPEAKS_OF_LOSS) and (
            is_lost(error) or (self.is_closed() and not is_stale(error))
        ):
            self.suspect = True
            if isinstance(error, asyncpg.InternalClientError) and "cannot switch to state" in str(error):
                # The server's last message arrived while the connection was idle (MagicStack/asyncpg#1069).
                super().terminate()
                return NotSentError("the connection was lost before the statement was sent")
            return DatabaseError(f"the connection was lost: {type(error).__name__}")
        return error

    # --- for the pool ---

    async def wire(self, query: str, timeout: float | None) -> None:
        """Run SQL without arguments and without our guards."""
        await self._protocol.query(query, timeout)  # type: ignore[attr-defined]

    def released(self) -> None:
        """Make the borrower's prepared statements, cursors, transactions and listeners useless, at once."""
        self._top_xact = None
        if self._listeners or self._log_listeners:  # type: ignore[attr-defined]
            self._on_release()  # type: ignore[attr-defined] # warns about them
            self._listeners.clear()  # type: ignore[attr-defined]
            self._log_listeners.clear()  # type: ignore[attr-defined]
        else:
            self._pool_release_ctr += 1  # type: ignore[attr-defined]

    async def clean(self, timeout: float) -> None:
        """Bring the session back to its first state, in one round trip.

        Roles, temporary tables and statements of SQL ``PREPARE`` outlive asyncpg's own reset.
        """
        query = self._full_reset
        if query is None:
            usual = self.get_reset_query()
            query = f"RESET SESSION AUTHORIZATION;\n{usual}\nDISCARD TEMP;" if usual else ""
            self._full_reset = query
        if self.sql_prepared and not self.through_pooler:
            query += _DEALLOCATE
        if self.is_in_transaction():
            query = f"ROLLBACK;\n{query}"
        await self.wire(query or "ROLLBACK;", timeout)
        self.sql_prepared = self.suspect = False
        self.server_bound = self.default_bound

    def drop_caches(self, *, types: bool = False) -> None:
        """Forget prepared statements, and with `types` what is known of the database's types."""
        if types:
            self._drop_local_type_cache()  # type: ignore[attr-defined]
        self._drop_local_statement_cache()  # type: ignore[attr-defined]

    def has_unread(self) -> bool:
        """Return True when bytes or an end lie unread in the socket of an idle connection: it needs a ping."""
        if self._poll is None:
            fd = self._socket().fileno()
            if fd < 0:
                return True
            self._poll = select.poll()
            self._poll.register(fd, select.POLLIN | select.POLLRDHUP)
        return bool(self._poll.poll(0))

    def keep_alive(self, *, idle: int = 30, interval: int = 10, count: int = 3) -> None:
        """Let the kernel find a peer that went away: probes while idle, and a limit for unacknowledged data."""
        found = self._socket()
        if found.family not in (socket.AF_INET, socket.AF_INET6):
            return
        found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        limits = {"TCP_KEEPIDLE": idle, "TCP_KEEPINTVL": interval, "TCP_KEEPCNT": count}
        limits["TCP_USER_TIMEOUT"] = idle * 1000
        for name, value in limits.items():
            if (option := getattr(socket, name, None)) is not None:  # not every platform has all
                found.setsockopt(socket.IPPROTO_TCP, option, value)

    @property
    def is_dropped(self) -> bool:
        """True when the borrower's handle was collected as garbage."""
        return self.handle is not None and self.handle() is None

    def fileno(self) -> int:
        """The socket's descriptor, -1 when it is closed."""
        try:
            return int(self._socket().fileno())
        except DatabaseError:
            return -1

    def _socket(self) -> Any:
        found = self._transport.get_extra_info("socket")  # type: ignore[attr-defined]
        if found is None:
            raise DatabaseError("the connection was lost")
        return found


class PooledConnection(_Proxy):
    """A borrower's handle on a connection: every method of ``asyncpg.Connection``, until it is given back."""

    __slots__ = ("__weakref__",)

    def __init__(
        self, connection: GuardedConnection, on_drop: Callable[[GuardedConnection, float], None]
    ) -> None:
        self._con: Any = connection
        self._holder: Any = None
        taken = connection.taken
        connection.handle = weakref.ref(self, lambda _: on_drop(connection, taken))

    def _detach(self) -> GuardedConnection | None:
        connection: GuardedConnection | None = self._con
        self._con = None
        return connection

    @property
    def connection(self) -> GuardedConnection | None:
        """The connection behind it; None after it was given back."""
        found: GuardedConnection | None = self._con
        return found


def _timed_out(limit: float | None) -> BaseException:
    left = Deadline.sooner(None)
    if left is not None and left < 0.05:
        return DeadlineExceededError(
            "the deadline passed while a statement ran; it was cancelled", timeout=limit
        )
    return CallTimeoutError(f"a statement ran for {limit} s and was cancelled", timeout=limit)


def _milliseconds(limit: float | None) -> int:
    """`limit` for ``statement_timeout``, where 0 means none."""
    return 0 if limit is None else max(1, min(int(limit * 1000), 2**31 - 1))
