"""The server goes away and comes back."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from typing import Any

import pytest

from prodkit import Runtime, postgres
from prodkit.errors import DatabaseError
from prodkit.testing.servers import Postgres

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """A server of our own, which may be stopped, and which comes back at the same address."""
    if not Postgres.available():
        pytest.skip("PostgreSQL is not installed")
    directory = tmp_path_factory.mktemp("server")
    with Postgres(directory) as first:
        port = first.port
    with Postgres(directory, port=port) as server:
        yield server


def pool(url: str, **options: Any) -> postgres.Pool:
    return postgres.Pool(url, **{"min_size": 1, "max_size": 2, **options})


async def test_requests_wait_through_a_restart(own_server: Postgres) -> None:
    seen: list[postgres.ConnectFailed] = []
    runtime = Runtime()
    runtime.events.subscribe(seen.append, postgres.ConnectFailed)
    async with pool(own_server.url, runtime=runtime, acquire_timeout=20) as db:
        await asyncio.to_thread(own_server.stop)
        requests = [asyncio.create_task(db.fetchval("select 1")) for _ in range(6)]
        await asyncio.sleep(0.5)
        assert not any(task.done() for task in requests)
        assert (await db.check()).details["verdict"] == "down"
        await asyncio.to_thread(own_server.start)
        assert await asyncio.gather(*requests) == [1] * 6
        assert (await db.check()).status == "up"
    assert seen


async def test_an_outage_longer_than_the_budget_is_a_database_error(own_server: Postgres) -> None:
    async with pool(own_server.url, acquire_timeout=0.3) as db:
        await asyncio.to_thread(own_server.stop)
        started = time.monotonic()
        with pytest.raises(DatabaseError, match="could not be reached"):
            await db.fetchval("select 1")
        assert time.monotonic() - started < 2
        await asyncio.to_thread(own_server.start)
        assert await db.fetchval("select 1") == 1


async def test_a_caller_who_comes_at_the_beginning_of_a_pause_gets_an_attempt_of_his_own(
    own_server: Postgres,
) -> None:
    class Latest(random.Random):
        def random(self) -> float:
            return 0.99

    failed = asyncio.Event()
    pauses: list[float] = []

    def note(event: postgres.ConnectFailed) -> None:
        pauses.append(event.retry_in)
        failed.set()

    runtime = Runtime(rng=Latest())
    runtime.events.subscribe(note, postgres.ConnectFailed)
    async with pool(own_server.url, runtime=runtime) as db:
        await asyncio.to_thread(own_server.stop)
        with pytest.raises(DatabaseError):
            await db.acquire(timeout=0.1)
        while not pauses or pauses[-1] < 0.4:
            failed.clear()
            await failed.wait()
        before = len(pauses)
        with pytest.raises(DatabaseError, match="could not be reached"):
            await db.acquire(timeout=0.3)
        assert len(pauses) > before
        await asyncio.to_thread(own_server.start)
        assert await db.fetchval("select 1") == 1
