"""asyncpg's connection with our limits and errors, and everything of asyncpg that is not public.

Like ``protocol_internals.py`` and ``operation.py`` it imports asyncpg when it is loaded. Beside the first it is the
only module here that touches private attributes of asyncpg: ``_check_open``, ``_cleanup``, ``_unwrap``,
``_drop_global_statement_cache``, ``_drop_global_type_cache``, ``_drop_local_statement_cache``,
``_drop_local_type_cache``, ``_on_release``, ``_top_xact``, ``_pool_release_ctr``, ``_listeners``, ``_log_listeners``,
``_transport`` and ``PoolConnectionProxy._con``. Read from asyncpg 0.32.0; ``tests/postgres/test_asyncpg_internals.py``
holds them to it.
"""

from __future__ import annotations

import asyncio
import select
import socket
import weakref
from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING, Any, Final

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from prodkit.errors import DatabaseError, InvalidError
from prodkit.postgres.protocol_internals import GuardedProtocol

if TYPE_CHECKING:
    _Proxy = PoolConnectionProxy[asyncpg.Record]
else:
    _Proxy = PoolConnectionProxy

__all__ = ["GuardedConnection", "PooledConnection"]

_DEALLOCATE: Final = """
DO $prodkit$ DECLARE s text; BEGIN
  FOR s IN SELECT name FROM pg_catalog.pg_prepared_statements WHERE from_sql LOOP
    EXECUTE pg_catalog.format('DEALLOCATE %I', s);
  END LOOP;
END $prodkit$;"""


class GuardedConnection(asyncpg.Connection):
    """A connection whose every statement ends by the sooner of its own limit and the caller's Deadline.

    The attributes below ``leaving`` are the pool's records about it.
    """

    __slots__ = (
        "_full_reset",
        "_poll",
        "born",
        "ends",
        "generation",
        "guard",
        "handle",
        "holder",
        "home",
        "idle_since",
        "leaving",
        "on_closed",
        "on_schema_change",
        "reported",
        "site",
        "taken",
    )

    def __init__(
        self, protocol: Any, transport: Any, loop: Any, addr: Any, config: Any, params: Any, **options: Any
    ) -> None:
        guard = GuardedProtocol(protocol, transport, config.command_timeout)
        super().__init__(guard, transport, loop, addr, config, params, **options)  # type: ignore[arg-type]
        self.guard: GuardedProtocol = guard
        """Limits and errors of what is sent."""
        self._full_reset: str | None = None
        self._poll: select.poll | None = None
        self.leaving: bool = False
        """Closed on purpose, not lost."""
        self.on_closed: Callable[[GuardedConnection], None] | None = None
        self.on_schema_change: Callable[[GuardedConnection, bool], None] | None = None
        self.home: object = None
        """The inventory whose connection it is."""
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

    async def add_listener(self, channel: str, callback: Any) -> None:
        if self.guard.through_pooler:
            raise InvalidError(
                "LISTEN does not work through a transaction pooler, which changes the server connection with every "
                "transaction: connect to the server directly for it"
            )
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

    # --- for the pool ---

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
        guard = self.guard
        await guard.settle(timeout)  # a BEGIN that was cut short may have begun all the same
        if guard.sql_prepared and not guard.through_pooler:
            query += _DEALLOCATE
        if self.is_in_transaction():
            query = f"ROLLBACK;\n{query}"
        await guard.wire(query or "ROLLBACK;", timeout)
        if self.is_in_transaction():
            raise DatabaseError("the connection is still in a transaction after its reset")
        guard.cleaned()

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
