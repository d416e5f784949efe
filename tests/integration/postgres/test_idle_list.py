"""The pool's own idle list: dead connections, growth, order, leaks, forks, and everything that may be set up."""

from __future__ import annotations

import asyncio
import gc
import json
import multiprocessing
import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import asyncpg
import pytest

from prodkit import Deadline, Runtime, postgres
from prodkit.errors import CallTimeoutError, DatabaseError, DrainingError, PoolExhaustedError
from prodkit.testing import Proxy
from prodkit.testing.servers import Postgres

pytestmark = pytest.mark.integration


@asynccontextmanager
async def pool(url: str, **options: Any) -> AsyncIterator[postgres.Pool]:
    async with postgres.Pool(url, **{"min_size": 1, "max_size": 2, **options}) as db:
        yield db


async def eventually(true: Callable[[], object], within: float = 5.0) -> None:
    until = time.monotonic() + within
    while not true():
        assert time.monotonic() < until
        await asyncio.sleep(0.005)


def heard(*kinds: Any) -> tuple[Runtime, list[Any]]:
    runtime, seen = Runtime(), []
    runtime.events.subscribe(seen.append, *kinds)
    return runtime, seen


@pytest.fixture(scope="module")
def small_server() -> Iterator[Postgres]:
    if not Postgres.available():
        pytest.skip("PostgreSQL is not installed")
    with Postgres(settings={"max_connections": 40}) as server:
        yield server


def kill_all_in_another_process(url: str) -> None:
    async def kill() -> None:
        connection = await asyncpg.connect(url)
        await connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'prodkit'"
        )
        await connection.close()

    asyncio.run(kill())


@pytest.mark.parametrize("size", [1, 4])
@pytest.mark.parametrize("how", ["fetch", "acquire", "transaction"])
async def test_idle_connections_killed_while_the_loop_is_busy_reach_no_request(
    postgres_url: str, size: int, how: str
) -> None:
    async with pool(postgres_url, min_size=size, max_size=size) as db:

        async def work() -> Any:
            if how == "fetch":
                return await db.fetchval("select 1")
            if how == "acquire":
                async with db.acquire() as connection:
                    return await connection.fetchval("select 1")
            async with db.transaction() as tx:
                return await tx.fetchval("select 1")

        await asyncio.gather(*(work() for _ in range(8)))
        await eventually(lambda: db.stats().idle == size)
        killer = multiprocessing.get_context("spawn").Process(
            target=kill_all_in_another_process, args=(postgres_url,)
        )
        killer.start()
        killer.join()  # the loop is blocked: nothing was read from the sockets
        assert await asyncio.gather(*(work() for _ in range(24))) == [1] * 24


async def test_a_fetch_is_one_round_trip_for_its_caller(
    postgres_url: str, running_time: Callable[[], float]
) -> None:
    with Proxy(postgres_url) as proxy:
        async with pool(proxy.url_for(postgres_url), min_size=2) as db:
            for _ in range(6):  # both connections know the statement
                await asyncio.gather(*(db.fetchval("select 1") for _ in range(2)))
            await eventually(lambda: db.stats().idle == 2)
            proxy.delay(0.05)
            began = running_time()
            await db.fetchval("select 1")
            assert running_time() - began < 0.16, "one trip there and back, not two"


async def test_a_waiter_takes_what_comes_first_when_growth_hangs(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch, running_time: Callable[[], float]
) -> None:
    async with pool(postgres_url, max_size=3, acquire_timeout=3) as db:

        async def hang(**_: Any) -> None:
            await asyncio.sleep(30)

        async with db.acquire():
            monkeypatch.setattr(db._connector, "open", hang)
            waiter = asyncio.create_task(db.fetchval("select 1"))
            await eventually(lambda: db.stats().connecting)
            assert not waiter.done()
        began = running_time()
        assert await waiter == 1
        assert running_time() - began < 0.2


async def test_a_burst_opens_few_backends(postgres_url: str) -> None:
    """The best of three: a pool grows further where the machine stands still in the middle of a burst."""
    sizes: list[int] = []
    for _ in range(3):
        async with pool(postgres_url, min_size=2, max_size=50) as db:
            assert await asyncio.gather(*(db.fetchval("select 1") for _ in range(200))) == [1] * 200
            sizes.append(db.stats().size)
    assert min(sizes) <= 12, sizes


async def test_a_slot_is_left_for_people(small_server: Postgres) -> None:
    small_server.execute("create role app login password 'app'")
    scheme, _, rest = small_server.url.partition("://")
    url = f"{scheme}://app:app@{rest.rpartition('@')[2]}"
    async with pool(url, min_size=1, max_size=50) as one, pool(url, min_size=1, max_size=50) as two:

        async def work(db: postgres.Pool) -> None:
            await db.execute("select pg_sleep(0.05)")

        tasks = [asyncio.create_task(work(db)) for _ in range(150) for db in (one, two)]
        await asyncio.sleep(0.5)
        for _ in range(5):
            async with asyncio.timeout(2):  # both pools may be trying a connection in the same moment
                while True:
                    with suppress(asyncpg.TooManyConnectionsError):
                        person = await asyncpg.connect(url, timeout=2)
                        break
                    await asyncio.sleep(0.05)
            await person.close()
        await asyncio.gather(*tasks)
        assert one.stats().connect_failures + two.stats().connect_failures <= 20


async def test_waiters_wake_when_the_pool_closes(
    postgres_url: str, running_time: Callable[[], float]
) -> None:
    db = postgres.Pool(postgres_url, min_size=1, max_size=1, close_timeout=0.5)
    await db.start()
    held = db.acquire()
    await held.__aenter__()
    waiters = [asyncio.create_task(db.fetchval("select 1")) for _ in range(5)]
    await asyncio.sleep(0.01)
    began = running_time()
    closing = asyncio.create_task(db.aclose())
    await asyncio.wait(waiters)
    assert running_time() - began < 0.05
    assert all(isinstance(waiter.exception(), DrainingError) for waiter in waiters)
    await closing
    await held.__aexit__(None, None, None)


async def test_two_starts_leave_no_backend(postgres_url: str) -> None:
    db = postgres.Pool(postgres_url, min_size=3, max_size=3, application_name="twice")
    done = await asyncio.gather(db.start(), db.start(), return_exceptions=True)
    assert sum(each is None for each in done) == 1
    assert sum(isinstance(each, RuntimeError) for each in done) == 1
    await db.aclose()
    connection = await asyncpg.connect(postgres_url)
    left = "select count(*) from pg_stat_activity where application_name = 'twice'"
    for _ in range(100):
        if not await connection.fetchval(left):
            break
        await asyncio.sleep(0.02)
    assert await connection.fetchval(left) == 0
    await connection.close()


async def test_a_dropped_handle_is_reclaimed_and_reported(postgres_url: str) -> None:
    runtime, seen = heard(postgres.ConnectionReclaimed)
    async with pool(postgres_url, max_size=1, runtime=runtime) as db:
        await db.execute("create table t (a int)")

        async def careless() -> None:
            connection = await db.acquire()
            await connection.execute("begin")
            await connection.execute("insert into t values (1)")

        await careless()
        gc.collect()
        assert await db.fetchval("select count(*) from t") == 0
        assert db.stats().reclaimed == 1
    assert seen[0].site.rpartition(":")[0].endswith("test_idle_list.py")


async def test_a_long_borrower_is_reported_with_its_line(postgres_url: str) -> None:
    runtime, seen = heard(postgres.ConnectionHeldLong)
    async with pool(postgres_url, leak_threshold=0.2, runtime=runtime) as db, db.acquire():
        await eventually(lambda: seen, within=0.4 + 0.2)
        await asyncio.sleep(0.3)
    assert len(seen) == 1
    assert "test_idle_list.py:" in seen[0].site


async def test_a_circle_of_borrowers_is_broken_at_once(
    postgres_url: str, running_time: Callable[[], float]
) -> None:
    runtime, seen = heard(postgres.PoolNested)
    async with pool(postgres_url, min_size=4, max_size=4, runtime=runtime) as db:
        ready = asyncio.Barrier(4)

        async def nested() -> str:
            async with db.acquire():
                await ready.wait()
                async with db.acquire() as second:
                    return str(await second.fetchval("select 'ok'"))

        began = running_time()
        done = await asyncio.gather(*(nested() for _ in range(4)), return_exceptions=True)
        assert running_time() - began < 1.0
        assert done.count("ok") == 3
        refused = next(each for each in done if isinstance(each, PoolExhaustedError))
        assert "this task holds 1 itself (acquired at" in str(refused)
        assert len(seen) == 4


async def test_released_connections_are_refused(postgres_url: str) -> None:
    async with pool(postgres_url) as db:
        async with db.acquire() as connection:
            assert isinstance(connection, asyncpg.Connection)
        with pytest.raises(asyncpg.InterfaceError, match="released back to the pool"):
            await connection.fetchval("select 1")
        async with db.acquire() as connection:
            statement = await connection.prepare("select 1")
        with pytest.raises(asyncpg.InterfaceError, match="released back to the pool"):
            await statement.fetchval()  # at once, not only after the reset
        connection = await db.acquire(timeout=1)
        async with pool(postgres_url) as other:
            with pytest.raises(ValueError, match="another pool"):
                await other.release(connection)
        await db.release(connection)
        await db.release(connection)
        assert db.stats().used == 0


async def test_statements_of_sql_prepare_do_not_leak_and_asyncpgs_stay(postgres_url: str) -> None:
    async with pool(postgres_url, max_size=1) as db:
        await db.fetchval("select 41 + 1")
        for leak in (
            "prepare leaked as select 1",
            "do $$ begin execute 'PREPARE hidden as select 1'; end $$",
        ):
            await db.execute(leak)
            names = await db.fetch("select name, from_sql from pg_prepared_statements")
            assert not [row["name"] for row in names if row["from_sql"]]
            assert [row["name"] for row in names if not row["from_sql"]]


async def test_new_connections_are_set_up(postgres_url: str) -> None:
    made: list[int] = []

    async def init(connection: Any) -> None:
        made.append(connection.get_server_pid())
        await connection.set_type_codec(
            "mood", schema="public", encoder=str.lower, decoder=str.upper, format="text"
        )

    admin = await asyncpg.connect(postgres_url)
    await admin.execute("create type mood as enum ('happy')")
    await admin.close()
    options = {"init": init, "server_settings": {"work_mem": "7MB"}, "min_size": 2}
    async with pool(postgres_url, **options) as db:
        for _ in range(3):
            assert await db.fetchval("select 'happy'::mood") == "HAPPY"
            assert await db.fetchval("show work_mem") == "7MB"
        async with db.acquire() as connection:
            await connection.execute("set work_mem = '9MB'")
    assert len(made) == 2


async def test_an_init_that_fails_is_the_error(postgres_url: str) -> None:
    async def init(_: Any) -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        async with pool(postgres_url, init=init):
            pass


async def test_json_is_python_values(postgres_url: str) -> None:
    value = {"a": [1, None, "ç"], "b": {"c": 1.5}}
    async with pool(postgres_url) as db:
        assert await db.fetchval("select $1::jsonb", value) == value
        assert await db.fetchval("select $1::json", [value]) == [value]
        assert await db.fetchval("select array[$1::jsonb]", "text") == ["text"]
    async with pool(postgres_url, json=False) as db:
        assert json.loads(await db.fetchval("select $1::jsonb", json.dumps(value))) == value


async def test_an_old_idle_connection_is_not_lent_again(postgres_url: str) -> None:
    async with pool(postgres_url, max_lifetime=0.3, max_size=1) as db:
        first = await db.fetchval("select pg_backend_pid()")
        await asyncio.sleep(0.4)
        assert await db.fetchval("select pg_backend_pid()") != first


async def test_spare_connections_go_after_the_idle_timeout(postgres_url: str) -> None:
    async with pool(postgres_url, max_size=6, idle_timeout=0.2) as db:

        async def size_after_a_statement() -> int:
            await db.execute("select pg_sleep(0.1)")
            return db.stats().size

        assert max(await asyncio.gather(*(size_after_a_statement() for _ in range(12)))) > 2
        await eventually(lambda: db.stats().size == db.stats().idle == 1)


async def test_keepalive_finds_half_open_connections_before_a_burst(
    postgres_url: str, running_time: Callable[[], float]
) -> None:
    with Proxy(postgres_url) as proxy:
        async with pool(proxy.url_for(postgres_url), min_size=6, max_size=12, keepalive=0.2) as db:
            proxy.stall()
            await eventually(lambda: db.stats().size == 0)
            proxy.heal()
            await eventually(lambda: db.stats().idle == 6, within=4)
            began = running_time()
            assert await asyncio.gather(*(db.fetchval("select 1") for _ in range(12))) == [1] * 12
            assert running_time() - began < 0.5


async def test_the_kernel_watches_the_connection(postgres_url: str) -> None:
    async with pool(postgres_url) as db, db.acquire() as connection:
        found = connection._transport.get_extra_info("socket")
        assert found.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert found.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 30
        assert found.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 30000


async def test_a_fork_leaves_the_parents_connections_alone(postgres_url: str) -> None:
    async with pool(postgres_url, min_size=2) as db:
        await db.fetchval("select 1")
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            code = b"?"
            try:
                db.acquire().__aenter__().send(None)
            except RuntimeError as error:
                code = b"refused" if "forked" in str(error) else repr(error).encode()
            except BaseException as error:
                code = repr(error).encode()
            os.write(writer, code)
            for each in (*db._inventory.idle,):
                each.terminate()
            os._exit(0)
        os.waitpid(child, 0)
        assert os.read(reader, 200) == b"refused"
        for _ in range(6):
            assert await asyncio.gather(*(db.fetchval("select 1") for _ in range(2))) == [1, 1]


async def test_suspend_and_resume(postgres_url: str) -> None:
    async with pool(postgres_url, acquire_timeout=0.2) as db:
        db.suspend()
        waiting = asyncio.create_task(db.fetchval("select 1"))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        db.resume()
        assert await waiting == 1
        db.suspend()
        with pytest.raises(PoolExhaustedError, match="suspended"):
            await db.fetchval("select 1")


async def test_the_fleet_is_compared_with_the_server(postgres_url: str) -> None:
    runtime, seen = heard(postgres.PoolOversized)
    async with pool(postgres_url, max_size=50, fleet=20, runtime=runtime):
        pass
    async with pool(postgres_url, max_size=2, fleet=2, runtime=runtime):
        pass
    assert [(event.max_size, event.fleet) for event in seen] == [(50, 20)]
    assert seen[0].slots < 1000


async def test_the_deadline_bounds_the_server_too(postgres_url: str) -> None:
    admin = await asyncpg.connect(postgres_url)
    with Proxy(postgres_url) as proxy:
        async with pool(proxy.url_for(postgres_url)) as db:
            with Deadline.after(5):
                async with db.transaction() as tx:
                    assert (
                        4000 <= int((await tx.fetchval("show statement_timeout")).removesuffix("ms")) <= 5000
                    )
            assert await db.fetchval("show statement_timeout") == "37500ms"
            for _ in range(2):
                with Deadline.after(0.6), suppress(CallTimeoutError, DatabaseError):
                    asyncio.get_running_loop().call_later(0.2, proxy.stall)
                    await db.execute("select pg_sleep(20)")
                running = "select count(*) from pg_stat_activity where query like '%pg_sleep(20)' and state = 'active'"
                await asyncio.sleep(0.3)
                assert await admin.fetchval(running) == 0
                proxy.heal()
    await admin.close()


async def test_a_cancelled_wait_is_measured(postgres_url: str) -> None:
    runtime, seen = heard(postgres.PoolWaitCancelled)
    async with pool(postgres_url, max_size=1, runtime=runtime) as db, db.acquire():
        waiter = asyncio.create_task(db.fetchval("select 1"))
        await asyncio.sleep(0.05)
        waiter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiter
        assert db.stats().cancelled == 1
    assert 0.03 < seen[0].waited < 1
