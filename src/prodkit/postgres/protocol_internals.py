"""asyncpg's protocol with our limits and errors: the one door that every statement, cursor and COPY goes through.

It stands where asyncpg's connection expects its own protocol object. The operations that wait are overridden
(``prepare``, ``bind_execute``, ``bind_execute_many``, ``bind``, ``execute``, ``close_portal``, ``close_statement``,
``query``, ``copy_in``, ``copy_out`` and ``_get_timeout``), ``_wait_for_cancellation`` and ``_is_cancelling`` are
called; the rest is asyncpg's.
Read from asyncpg 0.32.0; ``tests/postgres/test_protocol_internals.py`` holds it to that.

The server's own limit goes in the same write as the statement, so that it costs no round trip::

    ── Parse, Bind, Execute: SET statement_timeout = 730 ─┬─ Bind, Execute, Sync: the statement ──▶
    ◀──────────────────────────────────────── one answer ─┴────────────────────────────────────────

A simple query is one text with the setting before it: the server does not commit a simple query that follows an
extended one without Sync. Both are one implicit transaction: where the statement fails, the setting is gone with it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from contextlib import suppress
from math import inf, isfinite, isnan, nan
from typing import Any, Final

import asyncpg
from asyncpg.protocol import NO_TIMEOUT

from prodkit.core.deadline import Deadline
from prodkit.errors import CallTimeoutError, DatabaseError, DeadlineExceededError, InvalidError
from prodkit.policies.classify import is_lost_connection
from prodkit.postgres.outcome import NotSentError

__all__ = ["GuardedProtocol", "is_stale"]

_ROLLBACK_LIMIT: Final = 5.0
_CANCEL_LIMIT: Final = 0.5
_NEAR: Final = 1.25
_CONTROL: Final = re.compile(
    r"(BEGIN[A-Z ]*|COMMIT|ROLLBACK( TO \w+)?|SAVEPOINT \w+|RELEASE SAVEPOINT \w+);\Z"
)
_SESSION_STATE: Final = re.compile(r"^\s*listen\b|\bpg_(?:try_)?advisory_lock\b", re.IGNORECASE)
# Statements that may follow another one in a transaction; VACUUM, CREATE DATABASE and others may not.
_MAY_FOLLOW: Final = re.compile(
    r"[\s(]*(?:select|insert|update|delete|with|values|merge|table)\b", re.IGNORECASE
)

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


class GuardedProtocol:
    """asyncpg's protocol, whose every operation ends by the sooner of its own limit and the caller's Deadline.

    Args:
        raw: asyncpg's protocol.
        transport: the socket's transport.
        command_timeout: seconds of an operation without a limit of its own.
    """

    __slots__ = (
        "_raw",
        "_running",
        "_transport",
        "command_timeout",
        "commit_failed",
        "default_bound",
        "get_record_class",
        "is_connected",
        "is_in_transaction",
        "on_read_only",
        "server_bound",
        "sql_prepared",
        "suspect",
        "through_pooler",
    )

    def __init__(self, raw: Any, transport: Any, command_timeout: float | None) -> None:
        self._raw = raw
        self._transport = transport
        self._running = 0
        self.command_timeout: float | None = command_timeout
        self.get_record_class: Callable[[], Any] = raw.get_record_class
        self.is_connected: Callable[[], bool] = raw.is_connected
        self.is_in_transaction: Callable[[], bool] = raw.is_in_transaction
        self.suspect: bool = False
        """A statement was cut short: the connection may be out of step, or its peer gone."""
        self.through_pooler: bool = False
        """A transaction pooler stands between: nothing of the session may be changed."""
        self.sql_prepared: bool = False
        """SQL ``PREPARE`` may have been run."""
        self.commit_failed: bool = False
        """The server answered ROLLBACK to the last COMMIT: a statement had failed before it."""
        self.default_bound: float = inf
        """The ``statement_timeout`` that a reset brings back, in seconds."""
        self.server_bound: float = inf
        """The one in force; ``nan`` when an error made it unknown."""
        self.on_read_only: Callable[[], None] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)

    # --- what asyncpg calls ---

    def _get_timeout(self, timeout: float | None) -> float | None:
        return self._limit(timeout)

    async def bind_execute(
        self, state: Any, args: Any, portal_name: str, limit: int, return_extra: bool, timeout: float | None
    ) -> Any:
        self._look_at(state.query)
        return await self._run(
            self._raw.bind_execute, (state, args, portal_name, limit, return_extra), timeout, (), state
        )

    async def bind_execute_many(
        self, state: Any, args: Any, portal_name: str, timeout: float | None, return_rows: bool
    ) -> Any:
        return await self._run(
            self._raw.bind_execute_many, (state, args, portal_name), timeout, (return_rows,), state, many=True
        )

    async def bind(self, state: Any, args: Any, portal_name: str, timeout: float | None) -> Any:
        return await self._run(self._raw.bind, (state, args, portal_name), timeout, (), state)

    async def execute(
        self, state: Any, portal_name: str, limit: int, return_extra: bool, timeout: float | None
    ) -> Any:
        return await self._run(
            self._raw.execute, (state, portal_name, limit, return_extra), timeout, (), state
        )

    async def close_portal(self, portal_name: str, timeout: float | None) -> Any:
        return await self._run(self._raw.close_portal, (portal_name,), timeout)

    async def close_statement(self, state: Any, timeout: float | None) -> Any:
        self._running += 1
        try:
            return await self._raw.close_statement(state, timeout)
        finally:
            self._running -= 1

    async def prepare(self, stmt_name: str, query: str, timeout: float | None, **options: Any) -> Any:
        self._look_at(query)
        left = self._limit(timeout)
        self._running += 1
        try:
            if not _seconds(left) <= self.server_bound:  # of an earlier Deadline: it would cut this one short
                await self._tell(left, ahead=False)
            return await self._raw.prepare(stmt_name, query, left, **options)
        except BaseException as error:
            seen = self._translated(error, left)
            if seen is error:
                raise
            raise seen from error
        finally:
            self._running -= 1

    async def query(self, query: str, timeout: float | None) -> str:
        self._look_at(query)
        if _CONTROL.match(query):
            return await self._control(query, timeout)
        left = self._limit(timeout)
        bound = self.server_bound
        before = ""
        self._running += 1
        try:
            if self._bound_is_off(left):
                if self._may_precede(query):  # a simple query does not end what an extended one has begun
                    before, bound = f"{_setting(left)};\n", _seconds(left)
                    self.server_bound = nan
                else:
                    bound = await self._tell(left, ahead=False)
            status: str = await self._raw.query(before + query, left)
        except AttributeError:  # asyncpg 0.32 has no status for an empty statement (connection.execute(""))
            return ""
        except BaseException as error:
            position = getattr(error, "position", None)
            if before and isinstance(position, str) and position.isdecimal():
                error.position = str(int(position) - len(before))  # type: ignore[attr-defined]
            seen = self._translated(error, left)
            if seen is error:
                raise
            raise seen from error
        finally:
            self._running -= 1
        self.server_bound = bound
        return status

    async def copy_in(
        self, copy_stmt: str, reader: Any, data: Any, records: Any, record_stmt: Any, timeout: float | None
    ) -> str:
        return await self._copy(self._raw.copy_in, (copy_stmt, reader, data, records, record_stmt), timeout)

    async def copy_out(self, copy_stmt: str, sink: Any, timeout: float | None) -> str:
        return await self._copy(self._raw.copy_out, (copy_stmt, sink), timeout)

    async def _run(
        self,
        operation: Callable[..., Any],
        before: tuple[Any, ...],
        timeout: float | None,
        after: tuple[Any, ...] = (),
        state: Any = None,
        *,
        many: bool = False,
    ) -> Any:
        left = self._limit(timeout)
        bound = self.server_bound
        ahead = False
        self._running += 1
        try:
            if state is not None and self._bound_is_off(left):
                # executemany without arguments, or whose first ones fail, sends nothing that would end the setting.
                ahead = bool(state.name) and not many and self._may_precede(state.query)
                bound = await self._tell(left, ahead=ahead)
            found = await operation(*before, left, *after)
        except BaseException as error:
            if ahead and self._sent_nothing(error):
                await self._end_setting()
            own = many and isinstance(error, OSError) and not isinstance(error, TimeoutError)
            if own and self._raw.is_connected():
                raise  # the caller's arguments are read on the way
            seen = self._translated(error, left)
            if seen is error:
                raise
            raise seen from error
        finally:
            self._running -= 1
        self.server_bound = bound
        if ahead and isinstance(found, tuple) and found[1] == b"SET":
            return found[0], None, False  # there are more rows: the only command that was completed is ours
        return found

    async def _copy(self, operation: Callable[..., Any], args: tuple[Any, ...], timeout: float | None) -> str:
        """Run a COPY, whose limit also covers the waits for the caller's rows.

        Errors of the caller's own source or sink, and of a type without a binary codec, are not the connection's.
        """
        left = self._limit(timeout)
        limit = asyncio.timeout(left)
        copying = False
        self._running += 1
        try:
            if self._bound_is_off(left):
                await self._tell(left, ahead=False)
            copying = True
            async with limit:
                return str(await operation(*args, NO_TIMEOUT))
        except BaseException as error:
            self.suspect = True
            connected = self._raw.is_connected()
            if isinstance(error, Exception):
                # The server may have been through before the cancel request, which asyncpg then waits for in vain.
                with suppress(TimeoutError):
                    await self._raw._wait_for_cancellation(_CANCEL_LIMIT)
            own = isinstance(error, OSError | asyncpg.InternalClientError) and connected
            if own and copying and not limit.expired():
                raise
            seen = self._translated(error, left)
            if seen is error:
                raise
            raise seen from error
        finally:
            self._running -= 1

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
        self._running += 1
        try:
            status: str = await self._raw.query(query, limit)
        except BaseException as error:
            seen = self._translated(error, limit)
            if seen is error:
                raise
            raise seen from error
        finally:
            self._running -= 1
        if query == "COMMIT;":
            if self.server_bound != self.default_bound:
                self.server_bound = nan
            self.commit_failed = status == "ROLLBACK"
        return status

    # --- limits ---

    def _limit(self, timeout: Any) -> float | None:
        own: float | None
        if timeout is None:
            own = self.command_timeout
        elif isinstance(timeout, bool) or not isinstance(timeout, int | float) or not isfinite(timeout):
            raise ValueError(f"invalid timeout value: expected a number of seconds, got {timeout!r}")
        elif timeout <= 0:
            raise CallTimeoutError(
                f"a limit of {timeout} s leaves no time; the statement was not sent", timeout=0.0
            )
        else:
            own = timeout
        if Deadline.instant() == inf:
            return own
        left = Deadline.sooner(own)
        if left == 0.0:
            raise DeadlineExceededError("the deadline has passed; the statement was not sent")
        return left

    def _bound_is_off(self, limit: float | None) -> bool:
        """Return True when the server's own limit has to be set before the statement.

        It is the only limit left when this process hangs or the network is gone and no cancel request arrives. Above
        the deadline by a quarter it is near enough; below the statement's limit it would cut it short.
        """
        bound = self.server_bound
        if bound == inf and self.default_bound == inf:
            return False
        wanted = inf if limit is None else limit
        if wanted > bound:
            return True
        if Deadline.instant() == inf:
            return isnan(bound)
        return not bound <= wanted * _NEAR

    def _may_precede(self, query: str) -> bool:
        """Return True when the server's limit may be set in the same write as `query`.

        Not while another operation runs, which asyncpg then refuses, nor while a cancel request may be in flight.
        """
        return self._running == 1 and not self.suspect and _MAY_FOLLOW.match(query) is not None

    async def _tell(self, limit: float | None, *, ahead: bool) -> float:
        """Set the server's limit; return it. With `ahead` the caller sends the statement next, and then it holds."""
        if ahead:
            self.server_bound = nan
            self._transport.write(_unsynced(_setting(limit)))
        else:
            await self._raw.query(_setting(limit), limit)
            self.server_bound = _seconds(limit)
        return _seconds(limit)

    def _sent_nothing(self, error: BaseException) -> bool:
        """Return True when asyncpg refused the statement before it wrote any of it: it could not encode an argument."""
        return (
            isinstance(error, Exception)
            and not isinstance(error, asyncpg.PostgresError)
            and self._raw.is_connected()
            and not self._raw._is_cancelling()
        )

    async def _end_setting(self) -> None:
        """Send the Sync that a setting was to have from its statement, or end the connection."""
        try:
            await self._raw.close_portal("", _CANCEL_LIMIT)  # ends with a Sync
        except BaseException as error:
            self.suspect = True
            self._raw.abort()  # what came next on it would not be committed
            if not isinstance(error, Exception):
                raise

    def _look_at(self, query: str) -> None:
        if "prepare" in query or "PREPARE" in query or "Prepare" in query:
            self.sql_prepared = True
        if self.through_pooler and _SESSION_STATE.search(query):
            raise InvalidError(
                "a session lock or LISTEN does not work through a transaction pooler, which changes the server "
                "connection with every transaction: connect to the server directly for it"
            )

    # --- errors ---

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
            is_lost_connection(error) or not (self._raw.is_connected() or is_stale(error))
        ):
            self.suspect = True
            if isinstance(error, asyncpg.InternalClientError) and "cannot switch to state" in str(error):
                # The server's last message arrived while the connection was idle (MagicStack/asyncpg#1069).
                self._raw.abort()
                return NotSentError("the connection was lost before the statement was sent")
            return DatabaseError(f"the connection was lost: {type(error).__name__}")
        return error

    # --- for the pool ---

    async def settle(self, timeout: float) -> None:
        """Wait for the answer to an operation that was cut short: until then the state that it left is not known."""
        await self._raw._wait_for_cancellation(timeout)

    async def wire(self, query: str, timeout: float | None) -> None:
        """Run SQL without arguments and without our guards."""
        await self._raw.query(query, timeout)


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


def _setting(limit: float | None) -> str:
    return f"SET statement_timeout = {_milliseconds(limit)}"


def _seconds(limit: float | None) -> float:
    return inf if limit is None else limit


def _unsynced(statement: str) -> bytes:
    """Return Parse, Bind and Execute of `statement`, without the Sync that ends an implicit transaction."""
    parse = b"\0" + statement.encode() + b"\0\0\0"
    return (
        b"P"
        + (len(parse) + 4).to_bytes(4)
        + parse
        + b"B\0\0\0\x0c\0\0\0\0\0\0\0\0"  # unnamed portal and statement; no formats, arguments, result formats
        + b"E\0\0\0\x09\0\0\0\0\0"  # unnamed portal, all rows
    )
