"""The pool against a real server: limits, cleanliness, outages, order."""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from prodkit import Deadline, Runtime, postgres
from prodkit.errors import (
    CallTimeoutError,
    DatabaseError,
    DeadlineExceededError,
    DrainingError,
    PoolExhaustedError,
)
from prodkit.testing.servers import Postgres, postgres_installations

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module", params=sorted(postgres_installations()))
def postgres_server(request: pytest.FixtureRequest) -> Iterator[Postgres]:
    """Each test of this file runs on every PostgreSQL that is installed: the wheel's, and Debian's."""
    with Postgres(home=postgres_installations()[request.param]) as server:
        yield server


@asynccontextmanager
async def pool(url: str, **options: Any) -> AsyncIterator[postgres.Pool]:
    async with postgres.Pool(url, **{"min_size": 1, "max_size": 2, **options}) as db:
        yield db


async def eventually(true: Callable[[], bool], within: float = 5.0) -> None:
    until = time.monotonic() + within
    while not true():
        assert time.monotonic() < until
        await asyncio.sleep(0.01)


async def admin(url: str, query: str) -> Any:
    connection = await asyncpg.connect(url, server_settings={"default_transaction_read_only": "off"})
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def test_it_answers_and_counts(postgres_url: str) -> None:
    async with pool(postgres_url) as db:
        await db.execute("create table t (a int primary key, b text)")
        await db.executemany("insert into t values ($1, $2)", [(1, "um"), (2, "dois")])
        assert [tuple(row) for row in await db.fetch("select * from t order by a")] == [
            (1, "um"),
            (2, "dois"),
        ]
        row = await db.fetchrow("select * from t where a = $1", 2)
        assert row is not None
        assert row["b"] == "dois"
        assert await db.fetchval("select b from t where a = 1") == "um"
        async with db.acquire() as connection:
            assert await connection.fetchval("select 7") == 7
            assert db.stats().used == 1
        await eventually(lambda: db.stats().idle == db.stats().size)  # a slow machine may have opened two
        stats = db.stats()
        assert stats.acquired == 6
        assert stats.max_size == 2
        assert stats.size == stats.idle
    assert not db.running
    with pytest.raises(DrainingError):
        await db.fetch("select 1")


async def test_an_error_of_the_statement_stays_what_it_is(postgres_url: str) -> None:
    async with pool(postgres_url) as db:
        await db.execute("create table t (a int primary key)")
        await db.execute("insert into t values (1)")
        with pytest.raises(asyncpg.UniqueViolationError):
            await db.execute("insert into t values ($1)", 1)
        assert await db.fetchval("select count(*) from t") == 1


async def test_a_full_pool_refuses_in_time_and_says_who_holds_it(
    postgres_url: str, running_time: Callable[[], float]
) -> None:
    async with pool(postgres_url, min_size=2, acquire_timeout=2) as db, db.acquire(), db.acquire():
        started, ran = time.monotonic(), running_time()
        with pytest.raises(PoolExhaustedError, match=r"2 of 2 in use.*this task holds 2 itself") as caught:
            await db.fetch("select 1")
        assert running_time() - ran < 1.0, "waiting could not have ended"
        assert caught.value.size == 2
        assert caught.value.idle == 0
        assert db.stats().exhausted == 1
        other = asyncio.create_task(db.fetch("select 1"))
        with pytest.raises(PoolExhaustedError, match=r"within 2\.\d\d s.*acquired at .*test_pool\.py:\d+"):
            await other
        assert time.monotonic() - started > 1.9
        assert running_time() - ran < 4.0
        with Deadline.after(0.05):
            late = asyncio.create_task(db.fetch("select 1"))
        with pytest.raises(DeadlineExceededError):
            await late


async def test_waiters_are_served_in_order(postgres_url: str) -> None:
    served: list[int] = []

    async def work(number: int) -> None:
        async with db.acquire() as connection:
            served.append(number)
            await connection.execute("select 1")

    async with pool(postgres_url, min_size=2, max_size=2, acquire_timeout=60) as db:
        tasks = []
        for number in range(3000):
            tasks.append(asyncio.create_task(work(number)))
            if number % 20 == 0:
                await asyncio.sleep(0)
        await asyncio.gather(*tasks)
    assert served == list(range(3000))


async def test_a_statement_ends_by_its_limit_or_the_deadline(
    postgres_url: str, running_time: Callable[[], float]
) -> None:
    async with pool(postgres_url, command_timeout=0.2, max_size=1) as db:
        started = running_time()
        with pytest.raises(CallTimeoutError) as caught:
            await db.execute("select pg_sleep(30)")
        assert not isinstance(caught.value, DeadlineExceededError)
        with Deadline.after(0.1), pytest.raises(DeadlineExceededError):
            await db.fetch("select pg_sleep($1)", 30)
        assert await db.fetchval("select 1") == 1
        with Deadline.after(0.05):
            async with db.acquire() as connection:
                await asyncio.sleep(0.06)
                with pytest.raises(DeadlineExceededError, match="not sent"):
                    await connection.execute("select 1")
        assert running_time() - started < 3
        running = "select count(*) from pg_stat_activity where query like '%pg_sleep%' and state = 'active'"
        for _ in range(100):
            if await admin(postgres_url, running + " and pid <> pg_backend_pid()") == 0:
                break
            await asyncio.sleep(0.02)
        else:
            pytest.fail("a cancelled statement still runs on the server")


LEAKS = [
    ("set role pg_monitor", "select current_user", None),
    ("set session authorization leaker", "select session_user", None),
    ("set search_path = pg_catalog", "show search_path", None),
    ("set work_mem = '77MB'", "show work_mem", None),
    ("create temp table leaked (a int)", "select to_regclass('pg_temp.leaked')", None),
    ("listen leaked", "select count(*) from pg_listening_channels()", None),
    ("select pg_advisory_lock(42)", "select count(*) from pg_locks where locktype = 'advisory'", None),
    ("declare c cursor with hold for select 1", "select count(*) from pg_cursors", None),
    ("begin", "select now() = statement_timestamp()", None),
]


@pytest.mark.parametrize(("leak", "look", "_"), LEAKS, ids=[leak[0][:24] for leak in LEAKS])
@pytest.mark.filterwarnings("ignore::asyncpg.InterfaceWarning")
async def test_nothing_of_one_borrower_reaches_the_next(
    postgres_url: str, leak: str, look: str, _: None
) -> None:
    asyncio.get_running_loop().set_exception_handler(
        lambda loop, context: None
    )  # asyncpg reports the open BEGIN
    async with pool(postgres_url, max_size=1) as db:
        await db.execute("drop role if exists leaker; create role leaker")
        async with db.acquire() as connection:
            pid = connection.get_server_pid()
            before = await connection.fetchval(look)
            await connection.execute(leak)
        async with db.acquire() as connection:
            assert connection.get_server_pid() == pid
            assert await connection.fetchval(look) == before


async def test_killed_idle_connections_are_not_seen(postgres_url: str) -> None:
    async with pool(postgres_url, min_size=3, max_size=3) as db:
        for wait in (0.02, 1.2):
            await admin(
                postgres_url,
                "select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name = 'prodkit'",
            )
            await asyncio.sleep(wait)
            assert await asyncio.gather(*(db.fetchval("select 1") for _ in range(9))) == [1] * 9


async def test_a_server_that_is_not_there_or_refuses(postgres_url: str, unused_tcp_port: int) -> None:
    with pytest.raises(DatabaseError, match="could not be reached within"):
        async with pool(f"postgresql://u:hunter2@127.0.0.1:{unused_tcp_port}/d", acquire_timeout=0.3):
            pass
    with pytest.raises(DatabaseError, match="refused the connection: InvalidCatalogNameError") as caught:
        async with pool(postgres_url + "_not_there"):
            pass
    assert "hunter2" not in repr(caught.value)


async def test_more_callers_than_the_server_has_slots(postgres_url: str) -> None:
    scheme, _, rest = postgres_url.partition("://")
    url = f"{scheme}://few:few@{rest.rpartition('@')[2]}"
    await admin(postgres_url, "drop role if exists few")
    await admin(postgres_url, "create role few login password 'few'")
    await admin(postgres_url, "alter role few connection limit 4")
    async with pool(url, min_size=0, max_size=20, acquire_timeout=20) as db:
        assert (
            await asyncio.gather(*(db.fetchval("select 1 from pg_sleep(0.02)") for _ in range(60)))
            == [1] * 60
        )


async def test_cancelled_borrowers_leave_nothing_behind(postgres_url: str) -> None:
    async with pool(postgres_url, max_size=3) as db:
        await db.execute("create table t (a int)")

        async def work() -> None:
            async with db.transaction() as tx:
                await tx.execute("insert into t values (1)")
                await tx.execute("select pg_sleep(0.01)")

        for delay in (0.0, 0.001, 0.003, 0.01, 0.02):
            tasks = [asyncio.create_task(work()) for _ in range(30)]
            await asyncio.sleep(delay)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        await eventually(lambda: db.stats().used == 0)
        assert db.stats().waiting == 0
        assert await asyncio.gather(*(db.fetchval("select 1") for _ in range(9))) == [1] * 9


async def test_check_distinguishes_a_full_pool_from_a_dead_server(postgres_url: str) -> None:
    async with pool(postgres_url, max_size=1) as db:
        assert (await db.check()).status == "up"
        async with db.acquire():
            waiter = asyncio.create_task(db.fetchval("select 1"))
            await asyncio.sleep(0)
            result = await db.check()
            assert (result.status, result.details["verdict"]) == ("degraded", "saturated")
        assert await waiter == 1
    assert (await db.check()).status == "down"


async def test_a_demoted_server_is_read_only_and_connections_are_replaced(postgres_url: str) -> None:
    seen: list[postgres.PoolDemoted] = []
    runtime = Runtime()
    runtime.events.subscribe(seen.append, postgres.PoolDemoted)
    name = postgres_url.rpartition("/")[2].partition("?")[0]
    async with pool(postgres_url, runtime=runtime, max_size=1) as db:
        await db.execute("create table t (a int)")
        pid = await db.fetchval("select pg_backend_pid()")
        await admin(postgres_url, f"alter database {name} set default_transaction_read_only = on")
        await db.expire_connections()
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await db.execute("insert into t values (1)")
        assert seen
        async with pool(postgres_url) as other:
            assert (await other.check()).details["verdict"] == "read_only"
        await admin(postgres_url, f"alter database {name} reset all")
        await db.expire_connections()
        await db.execute("insert into t values (1)")
        assert await db.fetchval("select pg_backend_pid()") != pid


async def test_it_closes_in_time_although_somebody_holds_on(
    postgres_url: str, running_time: Callable[[], float]
) -> None:
    db = postgres.Pool(postgres_url, min_size=1, max_size=1, close_timeout=0.2)
    await db.start()
    acquired = db.acquire()
    connection = await acquired.__aenter__()
    started = running_time()
    await db.aclose()
    await db.aclose()
    assert running_time() - started < 2
    with pytest.raises((DatabaseError, asyncpg.InterfaceError)):
        await connection.fetchval("select 1")
    await acquired.__aexit__(None, None, None)


async def test_old_connections_are_replaced(postgres_url: str) -> None:
    async with pool(postgres_url, max_size=1, max_lifetime=0.05) as db:
        first = await db.fetchval("select pg_backend_pid()")
        await asyncio.sleep(0.1)
        await db.fetchval("select 1")
        assert await db.fetchval("select pg_backend_pid()") != first


Work = Callable[[Any], Awaitable[Any]]


async def test_a_schema_change_does_not_reach_units_of_work(postgres_url: str) -> None:
    async with pool(postgres_url, max_size=1) as db:
        await db.execute("create table t (a int); insert into t values (1)")

        async def work(tx: Any) -> list[Any]:
            return [dict(row) for row in await tx.fetch("select * from t")]

        assert await db.transaction(work) == [{"a": 1}]
        await admin(postgres_url, "alter table t add column b text default 'x'")
        assert await db.transaction(work) == [{"a": 1, "b": "x"}]


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://u:hunt#er2@127.0.0.1:1/d",
        "postgresql://u:hunter2@127.0.0.1:x/d",
        "hunter2+asyncpg://u:p@h/d",
        "postgresql://u:p@[hunter2/d",
        "postgresql://u:p@h/d?sslmode=hunter2",
    ],
)
async def test_an_unusable_address_is_refused_without_a_piece_of_it(dsn: str) -> None:
    with pytest.raises(DatabaseError, match="address of the database") as caught:
        async with pool(dsn, acquire_timeout=1):
            pass
    assert "er2" not in "".join(traceback.format_exception(caught.value))


def test_one_pool_serves_one_event_loop_after_the_other(postgres_url: str) -> None:
    db = postgres.Pool(postgres_url, min_size=1, max_size=2)

    async def use() -> list[int]:
        async with db:
            assert (await db.check()).status == "up"
            return list(await asyncio.gather(*(db.fetchval("select $1::int", n) for n in range(20))))

    for _ in range(3):
        assert asyncio.run(use()) == list(range(20))


async def test_json_inside_composite_types_and_by_copy(postgres_url: str) -> None:
    value = {"é": [1, None, "x"], "n": {"m": 1.5}}
    async with pool(postgres_url) as db:
        await db.execute("create type pair as (a int, b jsonb, c json)")
        await db.execute("create table thing (a int, b jsonb, c json, d pair)")
        await db.execute("insert into thing values (1, $1, $2, $3)", value, value, (1, value, value))
        row = await db.fetchrow("select * from thing")
        assert row is not None
        assert (row["b"], row["c"], row["d"]["b"], row["d"]["c"]) == (value,) * 4
        async with db.acquire() as connection:
            await connection.copy_records_to_table("thing", records=[(2, value, value, None)])
        assert await db.fetchval("select b from thing where a = 2") == value
        assert await db.fetchval("select $1::jsonb[]", [{"a": 1}, {"b": 2}]) == [{"a": 1}, {"b": 2}]
        assert await db.fetchval("select $1::jsonb", None) is None


async def test_parameters_of_libpq_in_an_address(postgres_url: str) -> None:
    url = f"{postgres_url}?connect_timeout=10&keepalives=1&sslmode=disable&application_name=shop"
    async with pool(url) as db:
        assert await db.fetchval("show application_name") == "shop"
    async with pool(url, application_name="worker") as db:
        assert await db.fetchval("show application_name") == "worker"


@pytest.mark.parametrize("ssl", [True, "require"])
async def test_a_server_without_tls_is_no_outage(
    postgres_url: str, ssl: Any, running_time: Callable[[], float]
) -> None:
    began = running_time()
    with pytest.raises(DatabaseError, match="does not speak it"):
        async with pool(postgres_url, ssl=ssl, acquire_timeout=20):
            pass
    assert running_time() - began < 10


async def test_an_empty_statement_is_no_error(postgres_url: str) -> None:
    async with pool(postgres_url) as db:
        assert await db.execute("") == await db.execute("-- only a comment") == ""


@pytest.mark.parametrize("timeout", ["a", -1, float("nan"), True])
async def test_a_wrong_time_to_wait_is_refused(postgres_url: str, timeout: Any) -> None:
    async with pool(postgres_url) as db:
        with pytest.raises((TypeError, ValueError), match="acquire: timeout must be"):
            db.acquire(timeout=timeout)


async def test_wrong_options_of_a_transaction_are_named(postgres_url: str) -> None:
    async with pool(postgres_url) as db:
        with pytest.raises(ValueError, match=r"isolation must be one of.*deferrable must be"):
            db.transaction(isolation="SERIALIZABLE", deferrable="yes")  # type: ignore[call-overload]


async def test_a_connection_that_the_pool_has_back_is_left_alone(postgres_url: str) -> None:
    db = postgres.Pool(postgres_url, min_size=1, max_size=2, close_timeout=0.05)
    async with db, pool(postgres_url, name="other") as other:
        foreign: Any = await other.acquire()
        with pytest.raises(ValueError, match=r"belongs to another pool") as caught:
            await db.release(foreign)
        assert isinstance(caught.value, asyncpg.InterfaceError)
        with pytest.raises(TypeError, match="not a member of a pool") as wrong:
            await db.release(7)
        assert isinstance(wrong.value, asyncpg.InterfaceError)
        await other.release(foreign)
        await other.release(foreign)
        held = await db.acquire()
    await db.release(held)  # cut off by aclose()
    with pytest.raises((asyncpg.InterfaceError, DatabaseError)):
        await held.fetchval("select 1")


async def test_a_lent_connection_that_died_leaves_its_slot(postgres_url: str) -> None:
    async with pool(postgres_url, min_size=1, max_size=1) as db:
        held = await db.acquire()
        await admin(postgres_url, f"select pg_terminate_backend({held.get_server_pid()})")
        assert await asyncio.create_task(db.fetchval("select 1")) == 1
        await db.release(held)
        assert await db.fetchval("select 2") == 2
        await eventually(lambda: db.stats().used == 0 and db.stats().size == 1)


async def test_a_write_in_a_read_only_transaction_says_nothing_about_the_server(postgres_url: str) -> None:
    runtime = Runtime()
    seen: list[Any] = []
    runtime.events.subscribe(seen.append, postgres.PoolDemoted)
    async with pool(postgres_url, min_size=1, max_size=1, runtime=runtime) as db:
        await db.execute("create table t (a int)")
        pid = await db.fetchval("select pg_backend_pid()")
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            async with db.transaction(readonly=True) as tx:
                await tx.execute("insert into t values (1)")
        async with db.acquire() as connection:
            await connection.execute("set default_transaction_read_only = on")
            with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
                await connection.execute("insert into t values (1)")
        assert await db.fetchval("select pg_backend_pid()") == pid, "no connection was replaced"
    assert not seen
