"""A signal that is sent while its run goes to sleep is not overlooked, whichever transaction ends first."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest

from prodkit import jobs, postgres

pytestmark = pytest.mark.integration


@jobs.job(name="waits")
async def waits() -> None: ...


async def claimed(engine: jobs.PostgresEngine):
    run = await waits.enqueue(engine)
    (claim,) = await engine.claim(uuid4(), {"waits": 0}, 1, 60.0)
    assert claim.run_id == run.id
    return claim


async def due(db: postgres.Pool, run_id) -> bool:
    run = await jobs.Runs(db).get(run_id)
    queued = await db.fetchval(
        "select execute_after <= now() from pgqueuer where dedupe_key = $1 and status = 'queued'", str(run_id)
    )
    return run is not None and run.status == "queued" and bool(queued)


async def blocked(db: postgres.Pool) -> None:
    """Wait until a statement on the runs' table waits for a lock."""
    for _ in range(500):
        if await db.fetchval("select exists (select from pg_stat_activity where wait_event_type = 'Lock')"):
            return
        await asyncio.sleep(0.01)
    raise AssertionError("no statement waits for a lock")


@pytest.mark.parametrize("timeout", [30.0, float("inf")])
async def test_the_signal_commits_while_the_run_is_given_back(postgres_url, timeout):
    async with postgres.Pool(postgres_url, min_size=2, max_size=6) as db:
        await jobs.install(db)
        engine = jobs.PostgresEngine(db)
        claim = await claimed(engine)
        async with db.transaction() as tx:
            await tx.fetchrow("select from prodkit_jobs where id = $1 for update", claim.run_id)
            await tx.execute(
                "insert into prodkit_job_signals (run_id, name, data) values ($1, 'go', '1')", claim.run_id
            )
            release = asyncio.create_task(engine.release(claim, delay=timeout, signal="go"))
            await asyncio.create_task(blocked(db))
        assert await release
        assert await due(db, claim.run_id)


@pytest.mark.parametrize("delay", [30.0, 2e9])
async def test_the_run_is_given_back_while_the_signal_is_sent(postgres_url, delay):
    async with postgres.Pool(postgres_url, min_size=2, max_size=6) as db:
        await jobs.install(db)
        engine = jobs.PostgresEngine(db)
        claim = await claimed(engine)
        async with db.transaction() as tx:  # what release does, held open
            await tx.execute(
                "update prodkit_jobs set status = 'waiting', signal = 'go', worker = null,"
                " due_at = now() + interval '1 day' where id = $1",
                claim.run_id,
            )
            if delay > 1e9:
                await tx.execute("delete from pgqueuer where dedupe_key = $1", str(claim.run_id))
            else:
                await tx.execute(
                    "update pgqueuer set status = 'queued', execute_after = now() + interval '1 day'"
                    " where dedupe_key = $1",
                    str(claim.run_id),
                )
            signal = asyncio.create_task(jobs.Runs(engine).signal(claim.run_id, "go", 1))
            await asyncio.create_task(blocked(db))
        assert await signal
        assert await due(db, claim.run_id)
