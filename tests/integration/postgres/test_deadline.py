"""The caller's Deadline at the server: nothing of ours runs there after it, even when this process cannot say so."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest

from prodkit import Deadline, postgres
from prodkit.errors import CallTimeoutError, DeadlineExceededError
from prodkit.testing import Proxy

pytestmark = pytest.mark.integration

Work = Callable[[Any], Awaitable[Any]]
MARK = "/* deadline */"


async def lone(tx: Any) -> None:
    await tx.fetch(f"select pg_sleep(20) {MARK}")


async def script(tx: Any) -> None:
    await tx.execute(f"select pg_sleep(10) {MARK}; select pg_sleep(10) {MARK}")


async def with_arguments(tx: Any) -> None:
    await tx.execute(f"select pg_sleep($1) {MARK}", 20)


async def prepared(tx: Any) -> None:
    await (await tx.prepare(f"select pg_sleep($1) {MARK}")).fetch(20)


async def many(tx: Any) -> None:
    await tx.executemany(f"select pg_sleep($1) {MARK}", [(20,), (20,)])


async def cursor(tx: Any) -> None:
    async with tx.transaction():
        async for _ in tx.cursor(f"select pg_sleep(0.2) from generate_series(1, 99) {MARK}", prefetch=20):
            pass


async def opened_cursor(tx: Any) -> None:
    async with tx.transaction():
        found = await tx.cursor(f"select pg_sleep(0.2) from generate_series(1, 99) {MARK}")
        await found.fetch(50)


async def copy_out(tx: Any) -> None:
    async def nothing(_: bytes) -> None: ...

    await tx.copy_from_query(f"select pg_sleep(20) {MARK}", output=nothing)


async def copy_in(tx: Any) -> None:
    async def slowly() -> Any:
        yield b"1\n"
        await asyncio.sleep(20)
        yield b"2\n"

    await tx.execute("create temp table incoming (a int)")
    await tx.copy_to_table("incoming", source=slowly())


WORKS: list[Work] = [
    lone, script, with_arguments, prepared, many, cursor, opened_cursor, copy_out, copy_in
]  # fmt: skip


async def running(url: str) -> list[str]:
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch(
            "select query from pg_stat_activity where state <> 'idle' and pid <> pg_backend_pid() "
            "and backend_type = 'client backend' and (query like '%' || $1 || '%' or query like 'COPY%')",
            MARK,
        )
    finally:
        await connection.close()
    return [row[0] for row in rows]


@pytest.mark.parametrize("work", WORKS, ids=lambda work: work.__name__)
async def test_whatever_waits_for_the_server_ends_by_the_deadline(
    postgres_url: str, work: Work, running_time: Callable[[], float]
) -> None:
    async with postgres.Pool(postgres_url, min_size=1, max_size=2) as db:
        began = running_time()
        with pytest.raises(DeadlineExceededError), Deadline.after(0.3):
            async with db.acquire() as connection:
                await work(connection)
        assert running_time() - began < 2.0
        assert await db.fetchval("select 7") == 7
        assert not await running(postgres_url)


@pytest.mark.parametrize("work", [prepared, cursor, copy_out, copy_in], ids=lambda work: work.__name__)
async def test_the_usual_limit_holds_for_them_too(postgres_url: str, work: Work) -> None:
    async with postgres.Pool(postgres_url, min_size=1, max_size=2, command_timeout=0.3) as db:
        with pytest.raises(CallTimeoutError) as caught:
            async with db.acquire() as connection:
                await work(connection)
        assert not isinstance(caught.value, DeadlineExceededError)
        assert await db.fetchval("select 7") == 7


async def test_errors_of_a_copys_own_source_and_sink_are_the_callers(postgres_url: str) -> None:
    async def broken() -> Any:
        yield b"1\n"
        raise FileNotFoundError("the file of the caller")

    async def full(_: bytes) -> None:
        raise OSError(28, "No space left on device")

    async with postgres.Pool(postgres_url, min_size=1, max_size=1) as db, db.acquire() as connection:
        await connection.execute("create temp table incoming (a int)")
        with pytest.raises(FileNotFoundError, match="of the caller"):
            await connection.copy_to_table("incoming", source=broken())
        with pytest.raises(OSError, match="No space left") as caught:
            await connection.copy_from_query("select generate_series(1, 1000000)", output=full)
        assert caught.value.errno == 28
        await connection.set_type_codec("int4", schema="pg_catalog", encoder=str, decoder=int, format="text")
        with pytest.raises(asyncpg.InternalClientError, match="no binary format encoder"):
            await connection.copy_records_to_table("incoming", records=[(1,)])
        await connection.reset_type_codec("int4", schema="pg_catalog")
        assert await connection.fetchval("select count(*) from incoming") == 0


async def test_a_sink_that_fails_on_the_last_rows_costs_its_connection_and_no_time(
    postgres_url: str, running_time: Callable[[], float]
) -> None:
    """The server was through before the cancel request came: asyncpg would wait for an answer to it for ever."""

    async def full(_: bytes) -> None:
        raise OSError(28, "No space left on device")

    async with postgres.Pool(postgres_url, min_size=1, max_size=1) as db:
        began = running_time()
        with pytest.raises(OSError, match="No space left"):
            async with db.acquire() as connection:
                await connection.copy_from_query("select 1", output=full)
        assert await db.fetchval("select 7") == 7
        assert running_time() - began < 4.0


async def test_what_is_left_reaches_the_server_in_the_same_round_trip(
    postgres_url: str, running_time: Callable[[], float]
) -> None:
    with Proxy(postgres_url) as proxy:
        async with postgres.Pool(proxy.url_for(postgres_url), min_size=1, max_size=1) as db:
            for _ in range(3):  # prepared, and the connection is back from its reset
                assert await db.fetchval("select current_setting('statement_timeout')") == "37500ms"
            while not db.stats().idle:
                await asyncio.sleep(0.01)
            proxy.delay(0.1)
            began = running_time()
            with Deadline.after(5):
                found = await db.fetchval("select current_setting('statement_timeout')")
            took = running_time() - began
            proxy.delay(0)
    assert 4.0 < int(found.removesuffix("ms").removesuffix("s")) / (1 if "ms" not in found else 1000) <= 5.0
    assert took < 0.38, "a second round trip takes 0.4 s"


async def test_a_statement_that_fails_takes_its_setting_with_it(postgres_url: str) -> None:
    async with postgres.Pool(postgres_url, min_size=1, max_size=1) as db, db.acquire() as connection:
        with Deadline.after(5):
            for query, argument, kind in (
                ("select 1 / $1::int", 0, asyncpg.DivisionByZeroError),  # at the server
                ("select $1::int", "one", asyncpg.DataError),  # before anything of it was sent
            ):
                for _ in range(2):
                    with pytest.raises(kind):
                        await connection.fetchval(query, argument)
                await connection.execute("vacuum pg_catalog.pg_class")  # not inside an implicit transaction
                assert await connection.fetchval("select 7") == 7
        assert await connection.fetchval("select current_setting('statement_timeout')") != "0"
        await connection.execute("select pg_sleep(0.01)", timeout=100)
        assert await connection.fetchval("show statement_timeout") == "100s"


async def test_what_may_not_follow_another_statement_still_runs_under_a_deadline(postgres_url: str) -> None:
    async with postgres.Pool(postgres_url, min_size=1, max_size=2) as db:
        with Deadline.after(20):
            await db.execute("create table thing (a int)")
            for statement in ("vacuum thing", "create index concurrently on thing (a)", "analyze thing"):
                await db.execute(statement)
                await db.fetch(statement.replace("(a)", "((a + 1))"))
            await db.execute("insert into thing values ($1)", 1)
            assert await db.fetchval("with x as (select a from thing) select a from x") == 1
            async with db.transaction(isolation="serializable", readonly=True, deferrable=True) as tx:
                assert await tx.fetchval("select a from thing") == 1


PROCESS = """
import asyncio, sys, time
from prodkit import Deadline, postgres

async def main():
    async with postgres.Pool(sys.argv[1], min_size=1, max_size=1) as db:
        if sys.argv[2] == "blocked":
            asyncio.get_running_loop().call_later(0.3, time.sleep, 20)
        with Deadline.after(4):
            print("ready", flush=True)
            await db.fetch("select pg_sleep($1) {mark}", 15)

asyncio.run(main())
"""


@pytest.mark.parametrize("how", ["stopped", "killed", "blocked"])
async def test_a_process_that_cannot_cancel_leaves_nothing_running_after_its_deadline(
    postgres_url: str, how: str, running_time: Callable[[], float]
) -> None:
    """A stopped or killed process, and a blocked loop, send no cancel request: the server has the deadline itself."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROCESS.replace("{mark}", MARK), postgres_url, how, stdout=asyncio.subprocess.PIPE
    )  # fmt: skip
    try:
        assert child.stdout is not None
        await asyncio.wait_for(child.stdout.readline(), 30)
        began = running_time()
        async with asyncio.timeout(3):
            while not await running(postgres_url):
                await asyncio.sleep(0.02)
        if how != "blocked":
            os.kill(child.pid, signal.SIGSTOP if how == "stopped" else signal.SIGKILL)
        await asyncio.sleep(2.5 - (running_time() - began))
        assert await running(postgres_url), "it runs until the deadline"
        while await running(postgres_url):
            assert running_time() - began < 4.5, "0.5 s after the deadline"
            await asyncio.sleep(0.02)
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()


# --- statements whose limit is set in the same write -------------------------------------------------------------


@pytest.mark.parametrize("timeout", [None, 5.0, 300.0])
async def test_whatever_its_limit_a_statement_is_committed_when_it_returns(postgres_url, timeout):
    async with (
        postgres.Pool(postgres_url, max_size=1) as db,
        postgres.Pool(postgres_url, max_size=1) as other,
    ):
        await db.execute("create table kept (n int)")
        stored = 0
        for deadline in (1e6, 3.0, 1.0):
            with Deadline.after(deadline):
                await db.execute("insert into kept select 1", timeout=timeout)
                await db.execute("insert into kept values ($1)", 2, timeout=timeout)
                await db.fetch("insert into kept values ($1) returning n", 3, timeout=timeout)
                await db.executemany("insert into kept values ($1)", [(4,), (5,)], timeout=timeout)
                await db.execute("insert into kept select 6; insert into kept select 7", timeout=timeout)
                async with db.acquire() as connection:
                    await connection.copy_records_to_table("kept", records=[(8,)], timeout=timeout)
                    await connection.execute("insert into kept select 9", timeout=timeout)
            stored += 9
            assert await other.fetchval("select count(*) from kept") == stored


async def test_an_argument_that_cannot_be_encoded_leaves_the_connection_as_it_was(postgres_url):
    async with (
        postgres.Pool(postgres_url, max_size=1) as db,
        postgres.Pool(postgres_url, max_size=1) as other,
    ):
        await db.execute("create table kept (n int)")
        for round_, statement in enumerate(("insert into kept select 1", "insert into kept values ($1)")):
            arguments = (1,) if "$1" in statement else ()
            with Deadline.after(2.0 - round_):
                with pytest.raises(asyncpg.DataError):
                    await db.execute("insert into kept values ($1)", "one")
                assert await db.execute(statement, *arguments) == "INSERT 0 1"
            assert await other.fetchval("select count(*) from kept") == round_ + 1
        with Deadline.after(0.9):
            async with db.transaction() as tx:
                with pytest.raises(asyncpg.DataError):
                    await tx.execute("insert into kept values ($1)", "one")
                await tx.execute("insert into kept select 3")
        assert await other.fetchval("select count(*) from kept") == 3


async def test_a_second_operation_on_a_connection_is_refused_and_spoils_nothing(postgres_url):
    async with postgres.Pool(postgres_url, max_size=1) as db, db.acquire() as connection:
        await connection.fetchval("select $1::int", 1)
        with Deadline.after(5.0):
            found = await asyncio.gather(
                connection.fetch("select n, pg_sleep(0.1) from generate_series(1, 3) n"),
                connection.fetchval("select $1::int", 1),
                connection.execute("select 1"),
                return_exceptions=True,
            )
            assert [row[0] for row in found[0]] == [1, 2, 3]
            assert all(isinstance(each, asyncpg.InterfaceError) for each in found[1:])
            assert await connection.fetchval("select $1::int", 4) == 4
            assert await connection.execute("select 5") == "SELECT 1"


async def test_a_cursor_gives_every_row_when_its_limit_is_set_on_the_way(postgres_url):
    """The answer to the setting must not pass for the end of the rows."""
    async with postgres.Pool(postgres_url, max_size=1) as db, db.transaction() as tx:
        rows = "select n from generate_series(1, 220) n"
        with Deadline.after(5.0):
            assert [row[0] async for row in tx.cursor(rows)] == list(range(1, 221))
        found = aiter(tx.cursor(rows))
        got = 0
        for limit in (4.0, 2.0, 1.0, 0.5):  # each is set again before the next fifty
            with Deadline.after(limit):
                while got < 220:
                    row = await anext(found)
                    got += 1
                    assert row[0] == got
                    if got % 50 == 0:
                        break
        with Deadline.after(0.4):
            assert [row[0] async for row in found] == list(range(got + 1, 221))
        opened = await tx.cursor(rows)
        with Deadline.after(0.3):
            assert len(await opened.fetch(100)) == 100
            assert "exhausted" not in repr(opened)
            assert len(await opened.fetch(200)) == 120
        asked = await tx.prepare(rows)
        with Deadline.after(0.2):
            assert (await asked.fetchrow())[0] == 1
        assert asked.get_statusmsg() is None


@pytest.mark.parametrize("error", [None, FileNotFoundError, ConnectionResetError, TimeoutError])
async def test_executemany_that_sends_nothing_leaves_the_connection_as_it_was(postgres_url, error):
    def arguments():
        if error is not None:
            raise error("the caller's own")
        yield from ()

    async with (
        postgres.Pool(postgres_url, max_size=1) as db,
        postgres.Pool(postgres_url, max_size=1) as other,
    ):
        await db.execute("create table kept (n int)")
        with Deadline.after(5.0):
            async with db.acquire() as connection:
                if error is None:
                    await connection.executemany("insert into kept values ($1)", [])
                else:
                    with pytest.raises(CallTimeoutError if error is TimeoutError else error):
                        await connection.executemany("insert into kept values ($1)", arguments())
                await connection.execute("insert into kept select 1")
                assert await other.fetchval("select count(*) from kept") == 1


async def test_a_deadline_that_is_over_does_not_cut_short_what_is_prepared_after_it(postgres_url):
    async with postgres.Pool(postgres_url, min_size=2, max_size=2) as db:
        await db.execute("create table locked (n int)")
        async with db.acquire() as holder, db.acquire() as connection:
            with Deadline.after(0.1):
                await connection.fetchval("select 1")
            await holder.execute("begin; lock table locked")
            asked = asyncio.create_task(connection.fetch("select n from locked"))  # waits in its Parse
            await asyncio.sleep(0.3)
            await holder.execute("commit")
            assert await asked == []


async def test_a_transaction_that_failed_ends_by_hand_under_a_deadline(postgres_url: str) -> None:
    """The setting of the limit ahead of ROLLBACK would be refused, and ROLLBACK with it."""
    async with postgres.Pool(postgres_url, min_size=1, max_size=1) as db, db.acquire() as connection:
        for end in ("rollback", "ROLLBACK;", "commit", "abort"):
            for send in (connection.execute, connection.fetch):
                await connection.execute("begin")
                with pytest.raises(asyncpg.DivisionByZeroError):
                    await connection.execute("select 1/0")
                with Deadline.after(10):
                    await send(end)
                assert not connection.is_in_transaction(), (end, send)
                assert await connection.fetchval("select 1") == 1


async def limit_of(connection: Any) -> str:
    return str(await connection.fetchval("select current_setting('statement_timeout')"))


@pytest.mark.parametrize("end", ["rollback", "rollback to savepoint a"])
async def test_a_rollback_by_hand_takes_the_servers_limit_with_it(postgres_url: str, end: str) -> None:
    options: dict[str, Any] = {"min_size": 1, "max_size": 1, "command_timeout": 3000.0}
    async with postgres.Pool(postgres_url, **options) as db, db.acquire() as connection:
        with Deadline.after(60):
            assert (await limit_of(connection)).startswith(("59", "1min"))
        await connection.execute("begin; savepoint a")
        with Deadline.after(900):
            await limit_of(connection)
        await connection.execute(end)
        with Deadline.after(900):
            assert await limit_of(connection) not in ("1min", "60s")
            assert int((await limit_of(connection)).removesuffix("ms")) > 600_000


async def test_a_limit_set_by_hand_stays_under_a_deadline(postgres_url: str) -> None:
    async with postgres.Pool(postgres_url, min_size=1, max_size=1) as db:
        async with db.acquire() as connection:
            with Deadline.after(20):
                await connection.execute("set statement_timeout = '7s'")
                assert await limit_of(connection) == "7s"
                async with connection.transaction():
                    assert await limit_of(connection) == "7s"
                statement = await connection.prepare("select current_setting('statement_timeout')")
                assert await statement.fetchval() == "7s"
                await connection.execute("reset statement_timeout")
                assert await limit_of(connection) != "7s"
        async with db.acquire() as connection:
            await connection.execute("set statement_timeout = '7s'")
        assert await limit_of(db) != "7s"


async def test_an_inner_deadline_that_is_over_does_not_cut_commit(postgres_url: str) -> None:
    """The server does not count the work of COMMIT, deferred triggers included, into the statement's time."""
    async with postgres.Pool(postgres_url, min_size=1, max_size=1) as db:
        await db.execute(
            """create table t (a int);
               create function slow() returns trigger language plpgsql as
                   $$ begin perform pg_sleep(1.5); return null; end $$;
               create constraint trigger slow after insert on t deferrable initially deferred
                   for each row execute function slow()"""
        )
        for outer in (None, 30.0):
            with Deadline.after(outer) if outer else Deadline.detached():
                async with db.transaction() as tx:
                    with Deadline.after(1.0):
                        await tx.execute("insert into t values (1)")
        assert await db.fetchval("select count(*) from t") == 2
