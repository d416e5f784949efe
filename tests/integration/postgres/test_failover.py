"""Two servers with streaming replication: failover to the promoted standby, and reads from a replica."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from prodkit import Runtime, postgres
from prodkit.testing.servers import Postgres

pytestmark = pytest.mark.integration


@pytest.fixture
def pair() -> Iterator[tuple[Postgres, Postgres]]:
    if not Postgres.available():
        pytest.skip("PostgreSQL is not installed")
    with Postgres() as primary, Postgres(standby_of=primary) as standby:
        yield primary, standby


def both(primary: Postgres, standby: Postgres) -> str:
    head, _, tail = primary.url.rpartition("@")
    return f"{head}@127.0.0.1:{primary.port},127.0.0.1:{standby.port}/{tail.rpartition('/')[2]}"


async def eventually(true: Any, within: float = 10.0) -> None:
    until = time.monotonic() + within
    while not await true():
        assert time.monotonic() < until
        await asyncio.sleep(0.02)


async def test_failover_under_load(pair: tuple[Postgres, Postgres]) -> None:
    primary, standby = pair
    url = both(primary, standby)
    async with postgres.Pool(url, min_size=2, max_size=6, acquire_timeout=20) as db:
        await db.execute("create table t (n serial)")
        down = promoted = 0.0
        errors_before: list[Exception] = []
        errors_after: list[Exception] = []
        served: list[float] = []
        stop = asyncio.Event()

        async def load() -> None:
            while not stop.is_set():
                sent = time.monotonic()
                try:
                    await db.execute("insert into t default values")
                    served.append(time.monotonic())
                except Exception as error:
                    (errors_after if down and sent > down else errors_before).append(error)
                await asyncio.sleep(0.002)

        tasks = [asyncio.create_task(load()) for _ in range(8)]
        await asyncio.sleep(0.3)
        await asyncio.to_thread(primary.kill)
        down = time.monotonic()
        await asyncio.sleep(0.5)
        await asyncio.to_thread(standby.promote)
        promoted = time.monotonic()
        await asyncio.sleep(1.5)
        stop.set()
        await asyncio.gather(*tasks)
        first = min(moment for moment in served if moment > down)
    assert errors_after == []
    assert len(errors_before) <= 8, "only what was in flight"
    assert first - promoted < 1.0


async def test_a_silent_host_costs_little(
    pair: tuple[Postgres, Postgres], running_time: Callable[[], float]
) -> None:
    primary, _ = pair
    head, _, tail = primary.url.rpartition("@")
    url = f"{head}@10.255.255.1:5432,127.0.0.1:{primary.port}/{tail.rpartition('/')[2]}"
    began = running_time()
    async with postgres.Pool(url, min_size=2, max_size=2) as db:
        assert await db.fetchval("select 1") == 1
    assert running_time() - began < 2


async def test_reads_go_to_a_replica_while_it_keeps_up(pair: tuple[Postgres, Postgres]) -> None:
    primary, standby = pair
    seen: list[Any] = []
    runtime = Runtime()
    runtime.events.subscribe(seen.append, postgres.ReplicaSkipped)
    in_recovery = "select pg_is_in_recovery()"
    async with postgres.Pool(
        primary.url, min_size=1, max_size=3, replicas=standby.url, max_lag=0.5, runtime=runtime
    ) as db:

        async def on_replica() -> bool:
            return bool(await db.read.fetchval(in_recovery))

        await eventually(on_replica)
        assert not await db.fetchval(in_recovery)
        assert db.read.lag == 0
        await db.execute("create table t (a int)")
        standby.execute("select pg_wal_replay_pause()")
        for _ in range(20):
            await db.execute("insert into t values (1)")
            await asyncio.sleep(0.1)

        async def on_primary() -> bool:
            return not await db.read.fetchval(in_recovery)

        await eventually(on_primary)
        assert len(await db.read.fetch("select * from t")) >= 20
        standby.execute("select pg_wal_replay_resume()")
        await eventually(on_replica)
        await asyncio.to_thread(standby.kill)
        assert not await db.read.fetchval(in_recovery)
        async with db.read.acquire() as connection:
            assert not await connection.fetchval(in_recovery)
    assert {event.reason for event in seen} == {"behind", "down"}


async def test_without_replicas_reads_go_to_the_primary(postgres_url: str) -> None:
    async with postgres.Pool(postgres_url, min_size=1, max_size=2) as db:
        assert await db.read.fetchval("select 1") == 1
        row = await db.read.fetchrow("select 2 as a")
        assert row is not None
        assert row["a"] == 2
        assert db.read.lag is None
