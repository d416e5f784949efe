"""Statements keep to the primary key: a generic plan is made while the table is small, and used above a million."""

from __future__ import annotations

import pytest

from prodkit import jobs, postgres
from prodkit.errors import DatabaseError
from prodkit.jobs import sql

pytestmark = pytest.mark.integration
BY_KEY = (
    "TAKE",
    "BEAT",
    "HOLD",
    "RECORD",
    "FINISH",
    "RELEASE",
    "WAKE_SIGNALLED",
    "SEND_SIGNAL",
    "CANCEL",
    "GET",
)


async def generic_plan(connection, statement: str) -> str:
    prepared = await connection.prepare(statement)
    nulls = ", ".join(["null"] * len(prepared.get_parameters()))
    await connection.execute("set plan_cache_mode = force_generic_plan")
    await connection.execute(f"prepare looked_at as {statement}")
    try:
        rows = await connection.fetch(f"explain (costs off) execute looked_at({nulls})")
    finally:
        await connection.execute("deallocate looked_at")
    return "\n".join(row[0] for row in rows)


async def fill(db: postgres.Pool, count: int) -> None:
    await db.execute(
        f"insert into prodkit_jobs (id, kind, status, arguments, finished_at)"
        f" select gen_random_uuid(), 'old', 'done', '[[],{{}}]', now() from generate_series(1, {count})"
    )


@pytest.mark.parametrize("count", [0, 1000])
async def test_a_plan_made_on_a_small_table_uses_the_key(postgres_url, count):
    async with postgres.Pool(postgres_url, min_size=1) as db:
        await jobs.install(db)
        if count:
            await fill(db, count)
            await db.execute("analyze prodkit_jobs")
        for name in BY_KEY:
            async with db.acquire() as connection:
                plan = await generic_plan(connection, getattr(sql, name))
            assert "Seq Scan on prodkit_jobs" not in plan, f"{name}:\n{plan}"


async def test_a_table_that_has_grown_is_analysed_by_the_sweep(postgres_url):
    async with postgres.Pool(postgres_url, min_size=1) as db:
        await jobs.install(db)
        await db.execute("alter table prodkit_jobs set (autovacuum_enabled = false)")
        await fill(db, 40)
        await db.execute("analyze prodkit_jobs")
        known = "select reltuples::int from pg_class where oid = 'prodkit_jobs'::regclass"
        await jobs.PostgresEngine(db).sweep()
        assert await db.fetchval(known) == 40
        await fill(db, 5000)
        await jobs.PostgresEngine(db).sweep()
        assert await db.fetchval(known) == 5040


async def test_a_delayed_run_that_lost_its_queue_row_keeps_its_delay(postgres_url):
    @jobs.job(name="later")
    async def later() -> None: ...

    async with postgres.Pool(postgres_url, min_size=1) as db:
        await jobs.install(db)
        run = await later.using(delay=3600).enqueue(db)
        await db.execute("delete from pgqueuer")
        await db.execute("update prodkit_jobs set created_at = now() - interval '1 minute'")
        assert await jobs.PostgresEngine(db).sweep() == [(run.id, "later")]
        waits = "select execute_after > now() + interval '50 minutes' from pgqueuer"
        assert await db.fetchval(waits) is True


async def test_missing_tables_are_named_with_one_statement(postgres_url):
    async with postgres.Pool(postgres_url, min_size=1) as db:
        await jobs.install(db)
        await db.execute("drop table prodkit_job_chunks; drop table pgqueuer")
        with pytest.raises(DatabaseError, match=r"\(prodkit_job_chunks, pgqueuer\): run `await jobs.install"):
            await jobs.PostgresEngine(db).prepare()
