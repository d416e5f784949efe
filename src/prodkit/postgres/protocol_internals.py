"""asyncpg's protocol with our limits and errors: the one door that every statement, cursor and COPY goes through.

It stands where asyncpg's connection expects its own protocol object. The operations that wait are overridden
(``prepare``, ``bind_execute``, ``bind_execute_many``, ``bind``, ``execute``, ``close_portal``, ``close_statement``,
``query``, ``copy_in``, ``copy_out`` and ``_get_timeout``), ``_wait_for_cancellation`` and ``_is_cancelling`` are
called; the rest is asyncpg's. Read from asyncpg 0.32.0; ``tests/postgres/test_protocol_internals.py`` holds it to that.

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
from math import inf, isnan, nan
from typing import Any, Final

import asyncpg
from asyncpg.protocol import NO_TIMEOUT

from prodkit.core.deadline import Deadline
from prodkit.errors import InvalidError
from prodkit.postgres.operation import Operation
from prodkit.postgres.time_limits import (
    Owner,
    ends_transaction,
    may_follow,
    milliseconds,
    owner_after,
    seconds,
    setting,
    time_left,
    unsynced,
)

__all__ = ["GuardedProtocol"]

_ROLLBACK_LIMIT: Final = 5.0
_CANCEL_LIMIT: Final = 0.5
_NEAR: Final = 1.25
_UNTIMED: Final = asyncpg.__version__.startswith("0.31.")  # its _wait_for_cancellation takes no limit
_CONTROL: Final = re.compile(
    r"(BEGIN[A-Z ]*|COMMIT|ROLLBACK( TO \w+)?|SAVEPOINT \w+|RELEASE SAVEPOINT \w+);\Z"
)
_READ_ONLY: Final = re.compile(r"\bread\s+only\b|_read_only\b", re.IGNORECASE)
_SESSION_STATE: Final = re.compile(r"^\s*listen\b|\bpg_(?:try_)?advisory_lock\b", re.IGNORECASE)


class GuardedProtocol:
    """asyncpg's protocol, whose every operation ends by the sooner of its own limit and the caller's Deadline.

    Args:
        raw: asyncpg's protocol.
        transport: the socket's transport.
        command_timeout: seconds of an operation without a limit of its own.
    """

    __slots__ = (
        "_raw",
        "_told",
        "_transport",
        "abort",
        "command_timeout",
        "commit_failed",
        "default_bound",
        "get_record_class",
        "is_connected",
        "is_in_transaction",
        "limit_owner",
        "on_read_only",
        "read_only_asked",
        "running",
        "server_bound",
        "sql_prepared",
        "suspect",
        "through_pooler",
    )

    def __init__(self, raw: Any, transport: Any, command_timeout: float | None) -> None:
        self._raw = raw
        self._transport = transport
        self.running: int = 0
        """Operations that wait for the server: more than one is a mistake that asyncpg refuses."""
        self.command_timeout: float | None = command_timeout
        self.get_record_class: Callable[[], Any] = raw.get_record_class
        self.abort: Callable[[], object] = raw.abort
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
        self.read_only_asked: bool = False
        """The borrower asked for a read-only transaction: a refused write says nothing about the server."""
        self.default_bound: float = inf
        """The ``statement_timeout`` that a reset brings back, in seconds."""
        self.server_bound: float = inf
        """The one in force; ``nan`` when an error made it unknown."""
        self._told: bool = False
        self.limit_owner: Owner = ""
        """The party that set the limit in force."""
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
        self.running += 1
        try:
            return await self._raw.close_statement(state, timeout)
        finally:
            self.running -= 1

    async def prepare(self, stmt_name: str, query: str, timeout: float | None, **options: Any) -> Any:
        self._look_at(query)
        left = self._limit(timeout)
        with Operation(self, left):
            if self._too_short(left) and not ends_transaction(query):
                await self._tell(left, ahead=False)
            return await self._raw.prepare(stmt_name, query, left, **options)

    async def query(self, query: str, timeout: float | None) -> str:
        self._look_at(query)
        if _READ_ONLY.search(query):
            self.read_only_asked = True
        elif query.startswith("BEGIN"):
            self.read_only_asked = False
        if _CONTROL.match(query):
            return await self._control(query, timeout)
        left = self._limit(timeout)
        bound = self.server_bound
        before = ""
        with Operation(self, left):
            try:
                if self._bound_is_off(left) and not ends_transaction(query):
                    if self._may_precede(query):  # a simple query does not end what an extended one has begun
                        before, bound = f"{setting(left)};\n", seconds(left)
                        self.server_bound = nan
                    else:
                        bound = await self._tell(left, ahead=False)
                status: str = await self._raw.query(before + query, left)
            except (
                AttributeError
            ):  # asyncpg 0.32 has no status for an empty statement (connection.execute(""))
                return ""
            except asyncpg.PostgresError as error:
                position = getattr(error, "position", None)
                if before and isinstance(position, str) and position.isdecimal():
                    error.position = str(int(position) - len(before))
                self._learn(query)
                raise
        self.server_bound = bound
        self._learn(query)
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
        with Operation(self, left) as running:
            try:
                if state is not None and self._bound_is_off(left) and not ends_transaction(state.query):
                    # executemany without arguments, or whose first ones fail, sends nothing that would end the setting.
                    ahead = bool(state.name) and not many and self._may_precede(state.query)
                    bound = await self._tell(left, ahead=ahead)
                found = await operation(*before, left, *after)
            except BaseException as error:
                if ahead and self._sent_nothing(error):
                    await self._end_setting()
                own = many and isinstance(error, OSError) and not isinstance(error, TimeoutError)
                running.callers = own and self._raw.is_connected()  # its arguments are read on the way
                raise
        self.server_bound = bound
        if state is not None and (self._told or self.limit_owner or "statement_timeout" in state.query):
            self._learn(state.query)
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
        with Operation(self, left) as running:
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
                        await self.settle(_CANCEL_LIMIT)
                own = isinstance(error, OSError | asyncpg.InternalClientError) and connected
                running.callers = own and copying and not limit.expired()
                raise

    async def _control(self, query: str, timeout: float | None) -> str:
        """Run BEGIN, COMMIT or ROLLBACK as asyncpg's Transaction spells them."""
        if query.startswith("ROLLBACK"):
            limit: float | None = _ROLLBACK_LIMIT if timeout is None else timeout  # however late it is
            self._learn("rollback")
        else:
            limit = self._limit(timeout)
            bounded = limit is not None and Deadline.instant() != inf and not self.limit_owner
            if query.startswith("BEGIN") and bounded:
                query += f" SET LOCAL statement_timeout = {milliseconds(limit)}"  # the same round trip
                self.server_bound = seconds(limit)
                self._told = True
        with Operation(self, limit):
            status: str = await self._raw.query(query, limit)
        if query == "COMMIT;":
            self._learn("commit")
            self.commit_failed = status == "ROLLBACK"
        return status

    # --- limits ---

    def _limit(self, timeout: Any) -> float | None:
        return time_left(timeout, self.command_timeout)

    def _bound_is_off(self, limit: float | None) -> bool:
        """Return True when the server's own limit has to be set before the statement.

        It is the only limit left when this process hangs or the network is gone and no cancel request arrives. Above
        the deadline by a quarter it is near enough; below the statement's limit it would cut it short.
        """
        bound = self.server_bound
        if self.limit_owner:
            return False
        if bound == inf and self.default_bound == inf:
            return False
        wanted = seconds(limit)
        if wanted > bound:
            return True
        if Deadline.instant() == inf:
            return isnan(bound)
        return not bound <= wanted * _NEAR

    def _too_short(self, limit: float | None) -> bool:
        """Return True when an earlier Deadline left a limit at the server that would cut this operation short."""
        return not self.limit_owner and not seconds(limit) <= self.server_bound

    def _may_precede(self, query: str) -> bool:
        """Return True when the server's limit may be set in the same write as `query`.

        Not while another operation runs, which asyncpg then refuses, nor while a cancel request may be in flight.
        """
        return self.running == 1 and not self.suspect and may_follow(query)

    async def _tell(self, limit: float | None, *, ahead: bool) -> float:
        """Set the server's limit; return it. With `ahead` the caller sends the statement next, and then it holds."""
        self._told = True
        if ahead:
            self.server_bound = nan
            self._transport.write(unsynced(setting(limit)))
        else:
            await self._raw.query(setting(limit), limit)
            self.server_bound = seconds(limit)
        return seconds(limit)

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
            self.abort()  # what came next on it would not be committed
            if not isinstance(error, Exception):
                raise

    def _learn(self, query: str) -> None:
        """Keep the record of the server's limit right behind a hand-written statement.

        A limit that the caller set by SQL stays as long as it lasts at the server, also under a Deadline.
        """
        before = self.limit_owner
        self.limit_owner, void = owner_after(before, query, inside=self._raw.is_in_transaction())
        if void and (self._told or before) and self.default_bound != inf:
            self.server_bound = nan

    def _look_at(self, query: str) -> None:
        if "prepare" in query or "PREPARE" in query or "Prepare" in query:
            self.sql_prepared = True
        if self.through_pooler and _SESSION_STATE.search(query):
            raise InvalidError(
                "a session lock or LISTEN does not work through a transaction pooler, which changes the server "
                "connection with every transaction: connect to the server directly for it"
            )

    # --- for the pool ---

    def cleaned(self) -> None:
        """Forget what was known of the session, which is as it was at the start."""
        self.sql_prepared = self.suspect = self.read_only_asked = self._told = False
        self.limit_owner = ""
        self.server_bound = self.default_bound

    async def settle(self, timeout: float) -> None:
        """Wait for the answer to an operation that was cut short: until then the state that it left is not known."""
        if _UNTIMED:
            async with asyncio.timeout(timeout):
                await self._raw._wait_for_cancellation()
        else:
            await self._raw._wait_for_cancellation(timeout)

    async def wire(self, query: str, timeout: float | None) -> None:
        """Run SQL without arguments and without our guards."""
        await self._raw.query(query, timeout)
