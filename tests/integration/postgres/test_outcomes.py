"""Commit outcomes under cancellation, and schema changes under load."""

from __future__ import annotations

import asyncio
import pickle
import random
from collections.abc import Iterator
from typing import Any

import asyncpg
import pytest

from prodkit import Deadline, postgres
from prodkit.errors import CommitUnknownError, DeadlineExceededError
from prodkit.testing.servers import Postgres, postgres_installations

pytestmark = pytest.mark.integration
Change = tuple[str, str, str]


@pytest.fixture(scope="module", params=sorted(postgres_installations()))
def postgres_server(request: pytest.FixtureRequest) -> Iterator[Postgres]:
    """Each test of this file runs on every PostgreSQL that is installed: the wheel's, and Debian's."""
    with Postgres(home=postgres_installations()[request.param]) as server:
        yield server


@pytest.mark.parametrize("resolvable", [False, True])
async def test_the_outcome_of_300_cancelled_callers_is_known(postgres_url: str, resolvable: bool) -> None:
    seed = random.randrange(1000)
    rng = random.Random(seed)
    async with postgres.Pool(postgres_url, min_size=4, max_size=4, acquire_timeout=30) as db:
        await db.execute("create table t (n int primary key)")
        await db.execute(
            """create function slow() returns trigger language plpgsql as $$
                 begin perform pg_sleep(random() * 0.004); return null; end $$;
               create constraint trigger slow after insert on t deferrable initially deferred
                 for each row execute function slow()"""
        )
        reached = [asyncio.Event() for _ in range(300)]
        outcomes: dict[int, Any] = {}

        async def unit(number: int) -> None:
            async with db.transaction(resolvable=resolvable) as tx:
                await tx.execute("insert into t values ($1)", number)
                reached[number].set()

        async def attempt(number: int) -> None:
            task = asyncio.create_task(unit(number))
            await reached[number].wait()
            await asyncio.sleep(rng.random() * 0.006)
            task.cancel()
            try:
                await task
                outcomes[number] = True
            except asyncio.CancelledError as error:
                cause = error.__cause__
                outcomes[number] = await cause.resolve() if isinstance(cause, CommitUnknownError) else False

        await asyncio.gather(*(attempt(number) for number in range(300)))
        there = {row["n"] for row in await db.fetch("select n from t")}
    wrong = [number for number, outcome in outcomes.items() if bool(outcome) != (number in there)]
    assert not wrong, f"seed {seed}"
    assert "unknown" not in outcomes.values()
    assert sum(isinstance(each, postgres.CommitOutcome) for each in outcomes.values()) > 20


async def test_a_commit_whose_connection_was_cut_can_be_looked_up(postgres_url: str) -> None:
    killer = await asyncpg.connect(postgres_url)
    async with postgres.Pool(postgres_url, min_size=1, max_size=2) as db:
        await db.execute(
            """create table t (n int);
               create function slow() returns trigger language plpgsql as $$
                 begin perform pg_sleep(5); return null; end $$;
               create constraint trigger slow after insert on t deferrable initially deferred
                 for each row execute function slow()"""
        )

        async def cut(pid: int) -> None:
            await asyncio.sleep(0.1)
            await killer.fetchval("select pg_terminate_backend($1)", pid)

        for resolvable, expected in ((True, "aborted"), (False, "unknown")):
            with pytest.raises(CommitUnknownError) as caught:
                async with db.transaction(resolvable=resolvable) as tx:
                    await tx.execute("insert into t values (1)")
                    cutting = asyncio.create_task(cut(tx.get_server_pid()))
            await cutting
            assert await caught.value.resolve() == expected
            assert not await caught.value.resolve()
            assert await pickle.loads(pickle.dumps(caught.value)).resolve() == "unknown"
    await killer.close()


async def test_a_statement_error_that_was_swallowed_does_not_pass_as_a_commit(postgres_url: str) -> None:
    async with postgres.Pool(postgres_url, min_size=1, max_size=1) as db:
        await db.execute("create table t (n int primary key)")
        with pytest.raises(asyncpg.InFailedSQLTransactionError, match="was rolled back"):
            async with db.transaction() as tx:
                await tx.execute("insert into t values (1)")
                with pytest.raises(asyncpg.UniqueViolationError):
                    await tx.execute("insert into t values (1)")
        assert await db.fetchval("select count(*) from t") == 0


CHANGES: dict[str, Change] = {
    "column added": ("", "select * from t", "alter table t add column b int"),
    "column type": ("", "select a from t", "alter table t alter column a type bigint"),
    "search path": (
        "create schema other; create table other.t (a text, c text); insert into other.t values ('1', 'x')",
        "select * from t",
        "alter table t rename to gone; alter table other.t set schema public",
    ),
    "enum recreated": (
        "create type mood as enum ('sad'); alter table t add column m mood default 'sad'",
        "select m from t where m = any($1::mood[])",
        """alter table t drop column m; drop type mood; create type mood as enum ('sad', 'glad');
           alter table t add column m mood default 'sad'""",
    ),
    "composite changed": (
        "create type pair as (x int, y int); alter table t add column p pair; update t set p = (1, 2)",
        "select p from t",
        "alter type pair add attribute z int",
    ),
}


@pytest.mark.parametrize("inside", [False, True], ids=["fetch", "unit"])
@pytest.mark.parametrize("change", CHANGES)
async def test_a_schema_change_reaches_no_caller(postgres_url: str, change: str, inside: bool) -> None:
    before, query, ddl = CHANGES[change]
    admin = await asyncpg.connect(postgres_url)
    await admin.execute("create table t (a int); insert into t values (1)")
    if before:
        await admin.execute(before)
    args = [["sad"]] if "$1" in query else []
    async with postgres.Pool(postgres_url, min_size=3, max_size=3) as db:

        async def work(tx: Any) -> Any:
            return await tx.fetch(query, *args)

        async def ask() -> Any:
            return await (db.transaction(work, attempts=4) if inside else db.fetch(query, *args))

        await asyncio.gather(*(ask() for _ in range(12)))
        stop = asyncio.Event()

        async def load() -> int:
            served = 0
            while not stop.is_set():
                assert len(await ask()) == 1
                served += 1
            return served

        tasks = [asyncio.create_task(load()) for _ in range(4)]
        await asyncio.sleep(0.05)
        await admin.execute(ddl)
        await asyncio.sleep(0.2)
        stop.set()
        assert min(await asyncio.gather(*tasks)) > 1
    await admin.close()


async def test_timeouts_are_what_asyncpg_makes_of_them(postgres_url: str) -> None:
    async with postgres.Pool(postgres_url, min_size=1, max_size=1) as db:
        for timeout in (0, -1):
            with pytest.raises(TimeoutError) as caught:
                await db.fetch("select 1", timeout=timeout)
            assert not isinstance(caught.value, DeadlineExceededError)
        for wrong in ("a", False):
            with pytest.raises(ValueError, match="invalid timeout value"):
                await db.fetch("select 1", timeout=wrong)  # type: ignore[arg-type]
        with Deadline.after(-1), pytest.raises(DeadlineExceededError):
            await db.fetch("select 1")
