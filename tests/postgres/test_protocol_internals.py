"""The private parts of asyncpg that ``protocol_internals.py`` relies on, and our limits over a protocol of a test."""

from __future__ import annotations

import asyncio
import inspect
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import asyncpg
import pytest
from asyncpg import connection, cursor, prepared_stmt

from prodkit import Deadline
from prodkit.errors import CallTimeoutError, DatabaseError, DeadlineExceededError, InvalidError
from prodkit.postgres.operation import is_stale
from prodkit.postgres.outcome import NotSentError
from prodkit.postgres.protocol_internals import GuardedProtocol

SOURCES = Path(asyncpg.__file__).parent


class Raw:
    """Answers at once, and keeps what it was asked."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.error = error
        self.connected = True
        self.backend_pid = 7

    def get_record_class(self) -> Any:
        return asyncpg.Record

    def is_connected(self) -> bool:
        return self.connected

    def is_in_transaction(self) -> bool:
        return False

    def abort(self) -> None:
        self.connected = False

    def _is_cancelling(self) -> bool:
        return False

    async def _wait_for_cancellation(self, timeout: float | None = None) -> None: ...

    async def query(self, query: str, timeout: Any) -> str:
        self.asked.append((query, timeout))
        if self.error is not None and (not query.startswith("SET ") or "\n" in query):
            raise self.error
        return "ROLLBACK" if query == "COMMIT;" else "DONE"

    async def bind_execute(
        self, state: Any, args: Any, portal_name: str, limit: int, return_extra: bool, timeout: Any
    ) -> str:
        self.asked.append((state.query, timeout))
        if self.error is not None:
            raise self.error
        return "rows"


class Wire:
    def __init__(self) -> None:
        self.written: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.written.append(data)


def made(error: BaseException | None = None, bound: float = 37.5) -> tuple[GuardedProtocol, Raw, Wire]:
    raw, wire = Raw(error), Wire()
    guard = GuardedProtocol(raw, wire, 30.0)
    guard.default_bound = guard.server_bound = bound
    return guard, raw, wire


def statement(query: str, name: str = "stmt_1") -> Any:
    return SimpleNamespace(query=query, name=name)


async def fetch(guard: GuardedProtocol, query: str, timeout: Any = None, name: str = "stmt_1") -> Any:
    return await guard.bind_execute(statement(query, name), (), "", 0, False, timeout)


# --- asyncpg -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("prepare", ["stmt_name", "query", "timeout"]),
        ("bind_execute", ["state", "args", "portal_name", "limit", "return_extra", "timeout"]),
        ("bind_execute_many", ["state", "args", "portal_name", "timeout", "return_rows"]),
        ("bind", ["state", "args", "portal_name", "timeout"]),
        ("execute", ["state", "portal_name", "limit", "return_extra", "timeout"]),
        ("close_portal", ["portal_name", "timeout"]),
        ("close_statement", ["state", "timeout"]),
        ("query", ["query", "timeout"]),
        ("copy_in", ["copy_stmt", "reader", "data", "records", "record_stmt", "timeout"]),
        ("copy_out", ["copy_stmt", "sink", "timeout"]),
    ],
)
def test_operations_have_the_parameters_that_are_passed_on(name: str, parameters: list[str]) -> None:
    source = (SOURCES / "protocol" / "protocol.pyx").read_text()
    head = source.partition(f"async def {name}(")[2].partition("):")[0]
    found = [
        each.split(":")[0].split("=")[0].split()[-1]
        for each in head.replace("*", "").split(",")
        if each.split()
    ]
    assert found[1 : 1 + len(parameters)] == parameters
    assert (
        list(inspect.signature(getattr(GuardedProtocol, name)).parameters)[1 : 1 + len(parameters)]
        == parameters
    )


def test_every_operation_with_a_timeout_is_guarded() -> None:
    source = (SOURCES / "protocol" / "protocol.pyx").read_text()
    waiting = {
        part.partition("(")[0]
        for part in source.split("async def ")[1:]
        if "timeout" in part.partition("):")[0]
    }
    ours = {"close", "_wait_for_cancellation"}  # they end a connection, or clean up
    assert waiting - ours <= set(vars(GuardedProtocol))


def test_statements_cursors_and_copies_go_through_the_protocol() -> None:
    for module in (connection, prepared_stmt, cursor):
        assert "_protocol" in inspect.getsource(module)
    assert "self._protocol = protocol" in inspect.getsource(connection.Connection.__init__)


def test_messages_that_answer_our_setting_are_skipped() -> None:
    """ParseComplete, BindComplete and CommandComplete in front of an answer, in the states that may see them."""
    source = (SOURCES / "protocol" / "coreproto.pyx").read_text()
    for state in ("bind_execute", "bind_execute_many", "bind", "simple_query"):
        body = source.partition(f"cdef _process__{state}(")[2].partition("cdef _process__")[0]
        assert "b'1'" in body or "else:" in body
    assert "self.buffer.finish_message()" in source
    assert "def _is_cancelling(self):" in (SOURCES / "protocol" / "protocol.pyx").read_text()


# --- limits ------------------------------------------------------------------------------------------------------


async def test_without_a_deadline_the_server_has_its_limit_already() -> None:
    guard, raw, wire = made()
    assert await fetch(guard, "select 1") == "rows"
    assert raw.asked == [("select 1", 30.0)]
    assert not wire.written


async def test_what_is_left_of_the_deadline_goes_with_the_statement() -> None:
    guard, raw, wire = made()
    with Deadline.after(3.0):
        await fetch(guard, "select 1")
        await fetch(guard, "select 2")
    assert [query for query, _ in raw.asked] == ["select 1", "select 2"]
    assert all(2.0 < timeout <= 3.0 for _, timeout in raw.asked)
    assert len(wire.written) == 1
    assert b"SET statement_timeout = 2" in wire.written[0] or b"= 3000" in wire.written[0]
    assert 2.0 < guard.server_bound <= 3.0


@pytest.mark.parametrize(
    ("query", "name"), [("vacuum t", "stmt_1"), ("call work()", "stmt_1"), ("select 1", "")]
)
async def test_a_statement_that_may_not_follow_another_one_is_sent_alone(query: str, name: str) -> None:
    guard, raw, wire = made()
    with Deadline.after(3.0):
        await fetch(guard, query, name=name)
    assert not wire.written
    assert raw.asked[0][0].startswith("SET statement_timeout = ")
    assert raw.asked[1][0] == query


async def test_a_simple_query_is_one_text_with_its_setting() -> None:
    guard, raw, wire = made()
    await guard.query("insert into t select 1", 100.0)
    assert raw.asked == [("SET statement_timeout = 100000;\ninsert into t select 1", 100.0)]
    assert not wire.written
    assert guard.server_bound == 100.0


async def test_an_errors_position_is_that_of_the_callers_query() -> None:
    error = asyncpg.PostgresSyntaxError("wrong")
    error.position = "40"
    guard, _, _ = made(error)
    with pytest.raises(asyncpg.PostgresSyntaxError) as caught:
        await guard.query("select wrong", 100.0)
    assert caught.value.position == str(40 - len("SET statement_timeout = 100000;\n"))


async def test_while_another_operation_runs_nothing_is_written() -> None:
    guard, raw, wire = made()
    asking = asyncio.Event()

    async def waits(*_: Any) -> str:
        await asking.wait()
        return "DONE"

    raw.copy_out = waits
    copying = asyncio.create_task(guard.copy_out("copy t to stdout", None, None))
    await asyncio.sleep(0)
    with Deadline.after(3.0):
        await fetch(guard, "select 1")  # asyncpg refuses it
        await guard.query("select 1", None)
    assert not wire.written
    asking.set()
    await copying


async def test_a_setting_without_its_statement_gets_its_own_end() -> None:
    guard, raw, wire = made(asyncpg.InterfaceError("invalid input for query argument $1"))
    ended: list[str] = []

    async def close_portal(name: str, timeout: float | None) -> None:
        ended.append(name)

    raw.close_portal = close_portal
    with Deadline.after(3.0), pytest.raises(asyncpg.InterfaceError):
        await fetch(guard, "select $1::int")
    assert len(wire.written) == 1
    assert ended == [""]


async def test_a_connection_that_was_cut_short_gets_its_setting_alone() -> None:
    guard, raw, wire = made()
    guard.suspect = True  # a cancel request may still be in flight, and would hit the setting
    with Deadline.after(3.0):
        await fetch(guard, "select 1")
    assert not wire.written
    assert len(raw.asked) == 2


async def test_a_setting_that_cannot_be_ended_ends_the_connection() -> None:
    guard, raw, wire = made(asyncpg.InterfaceError("invalid input for query argument $1"))

    async def close_portal(name: str, timeout: float | None) -> None:
        raise TimeoutError

    raw.close_portal = close_portal
    with Deadline.after(3.0), pytest.raises((asyncpg.InterfaceError, DatabaseError)):
        await fetch(guard, "select $1::int")
    assert len(wire.written) == 1
    assert not raw.connected
    assert guard.suspect


async def test_while_a_statement_is_closed_nothing_is_written_ahead() -> None:
    guard, raw, wire = made()
    closing = asyncio.Event()

    async def waits(*_: Any) -> None:
        await closing.wait()

    raw.close_statement = waits
    task = asyncio.create_task(guard.close_statement(None, None))
    await asyncio.sleep(0)
    with Deadline.after(3.0):
        await fetch(guard, "select 1")  # asyncpg refuses it
    assert not wire.written
    closing.set()
    await task


async def test_a_copy_that_has_no_time_for_its_setting_ends_like_any_statement() -> None:
    guard, raw, _ = made()

    async def late(*_: Any) -> str:
        raise TimeoutError

    raw.query = raw.copy_out = late  # type: ignore[method-assign]
    with Deadline.after(3.0), pytest.raises(CallTimeoutError):
        await guard.copy_out("copy t to stdout", None, None)


async def test_a_longer_limit_of_the_statement_raises_the_servers() -> None:
    guard, _, wire = made()
    await fetch(guard, "select 1", 100.0)
    assert b"SET statement_timeout = 100000" in wire.written[0]
    assert guard.server_bound == 100.0


async def test_after_an_error_the_servers_limit_is_set_again() -> None:
    guard, raw, wire = made(asyncpg.DivisionByZeroError("no"))
    with Deadline.after(3.0):
        with pytest.raises(asyncpg.DivisionByZeroError):
            await fetch(guard, "select 1/0")
        raw.error = None
        await fetch(guard, "select 1")
    assert len(wire.written) == 2


async def test_behind_a_pooler_nothing_is_set() -> None:
    guard, raw, wire = made(bound=float("inf"))
    with Deadline.after(3.0):
        await fetch(guard, "select 1")
    assert not wire.written
    assert len(raw.asked) == 1


async def test_limits_that_leave_no_time() -> None:
    guard, raw, _ = made()
    for timeout in (0, -1):
        with pytest.raises(CallTimeoutError, match="leaves no time") as caught:
            await fetch(guard, "select 1", timeout)
        assert not isinstance(caught.value, DeadlineExceededError)
    for wrong in (True, "a", float("nan"), float("inf")):
        with pytest.raises(ValueError, match="invalid timeout value"):
            await fetch(guard, "select 1", wrong)
    with Deadline.after(0), pytest.raises(DeadlineExceededError, match="was not sent"):
        await fetch(guard, "select 1")
    assert not raw.asked


async def test_begin_carries_the_deadline_and_rollback_ignores_it() -> None:
    guard, raw, _ = made()
    with Deadline.after(3.0):
        await guard.query("BEGIN;", None)
    assert raw.asked[0][0].startswith("BEGIN; SET LOCAL statement_timeout = ")
    with Deadline.after(0):
        await guard.query("ROLLBACK;", None)
    await guard.query("COMMIT;", None)
    assert guard.commit_failed


# --- errors ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "seen"),
    [
        (asyncpg.ConnectionDoesNotExistError("gone"), DatabaseError),
        (ConnectionResetError(), DatabaseError),
        (asyncpg.InternalClientError("cannot switch to state 11; another operation"), NotSentError),
        (TimeoutError(), CallTimeoutError),
        (asyncpg.UniqueViolationError("twice"), asyncpg.UniqueViolationError),
        (asyncio.CancelledError(), asyncio.CancelledError),
    ],
)
async def test_what_the_caller_sees(error: BaseException, seen: type[BaseException]) -> None:
    guard, raw, _ = made(error)
    for call in (fetch(guard, "select 1"), guard.query("select 1", None)):
        raw.connected = True
        with pytest.raises(seen) as caught:
            await call
        assert type(caught.value) is seen
    assert guard.suspect is (seen is not asyncpg.UniqueViolationError)


async def test_a_write_to_a_read_only_server_is_reported() -> None:
    guard, _, _ = made(asyncpg.ReadOnlySQLTransactionError("standby"))
    seen: list[int] = []
    guard.on_read_only = lambda: seen.append(1)
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
        await fetch(guard, "insert into t values (1)")
    assert seen == [1]


async def test_a_pooler_has_no_session_to_lock_or_listen_in() -> None:
    guard, raw, _ = made()
    guard.through_pooler = True
    for query in ("listen x", "select pg_advisory_lock(1)"):
        with pytest.raises(InvalidError, match="pooler"):
            await guard.query(query, None)
        with pytest.raises(InvalidError, match="pooler"):
            await guard.prepare("s", query, None)
    assert not raw.asked


def test_stale_errors() -> None:
    assert is_stale(asyncpg.InvalidCachedStatementError("changed"))
    assert is_stale(asyncpg.InternalServerError("cache lookup failed for type 7"))
    assert not is_stale(asyncpg.InternalServerError("disk"))


def test_the_rest_is_asyncpgs() -> None:
    guard, _, _ = made()
    assert guard.backend_pid == 7
    with pytest.raises(AttributeError):
        _ = guard.no_such_thing


def test_the_classifier_needs_no_driver() -> None:
    code = "import sys, prodkit.policies.classify; print('asyncpg' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "False\n"
    )
