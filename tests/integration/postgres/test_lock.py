from __future__ import annotations

import asyncio
from collections.abc import Iterator

import asyncpg
import pytest

from prodkit import Deadline, postgres
from prodkit.errors import CallTimeoutError, DatabaseError, DeadlineExceededError
from prodkit.testing.servers import Postgres, postgres_installations

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module", params=sorted(postgres_installations()))
def postgres_server(request: pytest.FixtureRequest) -> Iterator[Postgres]:
    """Each test of this file runs on every PostgreSQL that is installed: the wheel's, and Debian's."""
    with Postgres(home=postgres_installations()[request.param]) as server:
        yield server


async def test_one_at_a_time_also_with_concurrent_indexes(postgres_url: str) -> None:
    inside = 0

    async def migrate() -> None:
        nonlocal inside
        connection = await asyncpg.connect(postgres_url)
        try:
            async with postgres.advisory_lock(connection, "migrations", poll=0.02):
                inside += 1
                assert inside == 1
                # This waits for every transaction in the database: pg_advisory_lock elsewhere would deadlock it.
                await connection.execute("create index concurrently if not exists i on t (a)")
                inside -= 1
        finally:
            await connection.close()

    connection = await asyncpg.connect(postgres_url)
    await connection.execute("create table t (a int)")
    await connection.close()
    await asyncio.gather(*(migrate() for _ in range(5)))


async def test_it_gives_up_in_time_and_is_free_when_the_holder_dies(postgres_url: str) -> None:
    holder, waiter = await asyncpg.connect(postgres_url), await asyncpg.connect(postgres_url)
    try:
        async with postgres.advisory_lock(holder, "x"):
            with pytest.raises(CallTimeoutError, match=r"'x' for 0\.05 s"):
                async with postgres.advisory_lock(waiter, "x", timeout=0.05, poll=0.01):
                    pass
            with Deadline.after(0.05), pytest.raises(DeadlineExceededError):
                async with postgres.advisory_lock(waiter, "x", poll=0.01):
                    pass
        entered = asyncio.Event()

        async def hold() -> None:
            async with postgres.advisory_lock(holder, "x"):
                entered.set()
                await asyncio.sleep(60)

        task = asyncio.create_task(hold())
        await entered.wait()
        await waiter.fetchval("select pg_terminate_backend($1)", holder.get_server_pid())
        with pytest.raises(DatabaseError, match="the lock 'x' with it"):
            await task
        async with postgres.advisory_lock(waiter, "x", timeout=5, poll=0.01):
            pass
    finally:
        await waiter.close()


def test_the_key_of_a_name_never_changes() -> None:
    assert postgres.lock_key("migrations") == postgres.lock_key("migrations")
    assert postgres.lock_key("migrations") != postgres.lock_key("backup")
    assert -(2**63) <= postgres.lock_key("migrations") < 2**63
