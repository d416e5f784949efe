from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import asyncpg
import pytest

from prodkit import Deadline, Runtime, postgres
from prodkit.errors import CallTimeoutError, DatabaseError, DeadlineExceededError
from prodkit.testing import Proxy
from prodkit.testing.servers import Postgres, postgres_installations

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module", params=sorted(postgres_installations()))
def postgres_server(request: pytest.FixtureRequest) -> Iterator[Postgres]:
    """Each test of this file runs on every PostgreSQL that is installed: the wheel's, and Debian's."""
    with Postgres(home=postgres_installations()[request.param]) as server:
        yield server


async def test_a_block_commits_or_rolls_back(postgres_url: str) -> None:
    async with postgres.Pool(postgres_url, min_size=1, max_size=2) as db:
        await db.execute("create table t (a int)")
        async with db.transaction() as tx:
            await tx.execute("insert into t values (1)")
        with pytest.raises(ZeroDivisionError):
            async with db.transaction() as tx:
                await tx.execute("insert into t values (2)")
                raise ZeroDivisionError
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            async with db.transaction(readonly=True) as tx:
                await tx.execute("insert into t values (3)")
        assert [row["a"] for row in await db.fetch("select a from t")] == [1]


async def test_a_deadline_that_passes_before_commit_commits_nothing(postgres_url: str) -> None:
    async with postgres.Pool(postgres_url, min_size=1, max_size=1) as db:
        await db.execute("create table t (a int)")
        with pytest.raises(DeadlineExceededError) as caught, Deadline.after(0.2):
            async with db.transaction() as tx:
                await tx.execute("insert into t values (1)")
                await asyncio.sleep(0.25)
        assert not isinstance(caught.value, DatabaseError)
        assert await db.fetchval("select count(*) from t") == 0


async def test_serialization_failures_run_the_unit_again(postgres_url: str) -> None:
    seen: list[Any] = []
    runtime = Runtime()
    runtime.events.subscribe(seen.append, postgres.TransactionRerun)
    async with postgres.Pool(postgres_url, min_size=2, max_size=4, runtime=runtime) as db:
        await db.execute("create table t (a int); insert into t values (0)")
        both = asyncio.Barrier(2)

        async def add(tx: Any) -> int:
            value: int = await tx.fetchval("select a from t")
            if both.n_waiting or not both.broken:
                try:
                    async with asyncio.timeout(1):
                        await both.wait()
                except (TimeoutError, asyncio.BrokenBarrierError):
                    pass
                await both.abort()
            await tx.execute("update t set a = $1", value + 1)
            return value + 1

        units = (db.transaction(add, isolation="serializable") for _ in range(2))
        assert sorted(await asyncio.gather(*units)) == [1, 2]
        assert await db.fetchval("select a from t") == 2
    assert [event.error for event in seen] == ["SerializationError"]


async def test_a_unit_whose_connection_died_runs_again(postgres_url: str) -> None:
    runs = 0

    async def work(tx: Any) -> str:
        nonlocal runs
        runs += 1
        await tx.execute("insert into t values (1)")
        if runs == 1:
            await killer.fetchval("select pg_terminate_backend($1)", tx.get_server_pid())
        await tx.execute("insert into t values (2)")
        return "done"

    async with postgres.Pool(postgres_url, min_size=1, max_size=2) as db:
        await db.execute("create table t (a int)")
        killer = await asyncpg.connect(postgres_url)
        try:
            assert await db.transaction(work) == "done"
            runs = 0
            with pytest.raises(DatabaseError):
                await db.transaction(work, attempts=1)
        finally:
            await killer.close()
        assert [row["a"] for row in await db.fetch("select a from t")] == [1, 2]


async def test_an_error_of_ones_own_is_raised_at_once(postgres_url: str) -> None:
    runs = 0

    async def work(tx: Any) -> None:
        nonlocal runs
        runs += 1
        await tx.execute("insert into t values (1)")
        raise KeyError("mine")

    async with postgres.Pool(postgres_url, min_size=1, max_size=1) as db:
        await db.execute("create table t (a int)")
        with pytest.raises(KeyError):
            await db.transaction(work)
        assert runs == 1
        assert await db.fetchval("select count(*) from t") == 0
        with pytest.raises(TypeError, match="pass the function"):
            db.transaction(3)  # type: ignore[call-overload]


async def test_a_connection_lost_in_commit_is_unknown(postgres_url: str) -> None:
    async with postgres.Pool(postgres_url, min_size=1, max_size=1, command_timeout=0.3) as db:
        # A deferred trigger makes COMMIT itself slow, so that it can be cut in the middle.
        await db.execute(
            """
            create table t (a int);
            create function slow() returns trigger language plpgsql as $$
                begin perform pg_sleep(5); return null; end $$;
            create constraint trigger slow after insert on t deferrable initially deferred
                for each row execute function slow();
            """
        )
        with pytest.raises(postgres.CommitUnknownError, match="unknown") as caught:
            async with db.transaction() as tx:
                await tx.execute("insert into t values (1)")
        assert isinstance(caught.value.__cause__, CallTimeoutError)

        async def unit(tx: Any) -> None:
            await tx.execute("insert into t values (1)")

        with pytest.raises(postgres.CommitUnknownError):
            await db.transaction(unit)
        task = asyncio.create_task(db.transaction(unit))  # type: ignore[arg-type]
        await asyncio.sleep(0.15)
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as cancelled:
            await task
        assert isinstance(cancelled.value.__cause__, postgres.CommitUnknownError)


async def test_a_connection_in_a_state_of_its_own_is_replaced_before_the_first_statement(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused: list[object] = []
    start = asyncpg.transaction.Transaction.start

    async def confused(transaction: asyncpg.transaction.Transaction) -> None:
        if not refused:
            refused.append(transaction)
            raise asyncpg.InterfaceError("cannot perform operation: another operation is in progress")
        await start(transaction)

    async with postgres.Pool(postgres_url, min_size=1, max_size=1) as db:
        before = await db.fetchval("select pg_backend_pid()")
        monkeypatch.setattr(asyncpg.transaction.Transaction, "start", confused)
        async with db.transaction(readonly=True) as tx:
            after = await tx.fetchval("select pg_backend_pid()")
    assert refused
    assert before != after


@pytest.mark.parametrize("limit", [None, 5.0])
@pytest.mark.parametrize("how", ["block", "by hand", "time-out"])
async def test_a_begin_that_is_cut_short_leaves_no_transaction_to_the_next_borrower(
    postgres_url: str, how: str, limit: float | None
) -> None:
    """The server may have begun although the caller saw no answer: what the next one writes would be lost."""
    with Proxy(postgres_url) as proxy:
        async with postgres.Pool(proxy.url_for(postgres_url), min_size=1, max_size=1) as db:
            await db.execute("create table kept (n int)")

            async def work() -> None:
                with Deadline.after(limit if limit is not None else 1e6):
                    if how == "block":
                        async with db.transaction():
                            raise AssertionError("begun before the cancel")
                    async with db.acquire() as connection:
                        timeout = 0.04 if how == "time-out" else None
                        await connection.execute("begin; select 1", timeout=timeout)
                        raise AssertionError("begun before the cancel")

            while not db.stats().idle:
                await asyncio.sleep(0.01)
            proxy.delay(0.03)
            task = asyncio.create_task(work())
            if how != "time-out":
                await asyncio.sleep(0.04)
                task.cancel()
            with pytest.raises((asyncio.CancelledError, CallTimeoutError)):
                await task
            async with db.acquire() as connection:
                assert not connection.is_in_transaction()
                await connection.execute("insert into kept values (1)")
            proxy.delay(0)
            assert await db.fetchval("select count(*) from kept") == 1
            assert await db.fetchval("show statement_timeout") == "37500ms"
