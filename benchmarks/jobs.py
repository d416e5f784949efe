"""Durable jobs against plain PgQueuer, an enqueue against a bare INSERT, and a dequeue above a million finished runs.

The server is the embedded one on a directory (fsync on, as in production). Rounds take turns; the median counts.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg

from benchmarks.harness import Table, run
from prodkit import jobs, postgres
from prodkit.testing.servers import Postgres

JOBS, ROUNDS = 400, 5
FINISHED = int(os.environ.get("PRODKIT_JOBS_FINISHED", "1000000"))


@jobs.job(name="bench")
async def nothing(number: int) -> None:
    """Do nothing."""


async def ours(db: postgres.Pool) -> float:
    """Jobs a second through one worker."""
    for number in range(JOBS):
        await nothing.enqueue(db, number)
    began = time.perf_counter()
    async with jobs.Worker(db, [nothing], concurrency=50, keep=None):
        while await db.fetchval("select exists (select from pgqueuer)"):
            await asyncio.sleep(0.005)
        took = time.perf_counter() - began
    return JOBS / took


async def plain(pool: asyncpg.Pool) -> float:
    """Jobs a second through PgQueuer's own worker, with the batch size that suits it best here."""
    from pgqueuer import PgQueuer
    from pgqueuer.models import Job
    from pgqueuer.types import QueueExecutionMode

    queue = PgQueuer.from_asyncpg_pool(pool)

    @queue.entrypoint("plain")
    async def handle(job: Job) -> None: ...

    for number in range(JOBS):
        await queue.qm.queries.enqueue("plain", str(number).encode())
    began = time.perf_counter()
    await queue.qm.run(dequeue_timeout=timedelta(seconds=0.1), batch_size=50, mode=QueueExecutionMode.drain)
    return JOBS / (time.perf_counter() - began)


async def enqueue_over_insert(db: postgres.Pool) -> float:
    """Time of an enqueue by time of an INSERT of the same values into a plain table."""
    await db.execute(
        "create table if not exists bare (id uuid primary key, kind text, arguments text, at timestamptz)"
    )

    async def timed(work: Any) -> float:
        began = time.perf_counter()
        for number in range(100):
            await work(number)
        return time.perf_counter() - began

    found = []
    for _ in range(ROUNDS * 2):
        bare = await timed(
            lambda n: db.execute("insert into bare values ($1, 'bench', $2, now())", uuid4(), f"[[{n}],{{}}]")
        )
        found.append(await timed(lambda n: nothing.enqueue(db, n)) / bare)
    return statistics.median(found)


async def dequeue(engine: jobs.PostgresEngine, db: postgres.Pool) -> float:
    """Seconds of a claim and its end."""
    found = []
    for number in range(60):
        await nothing.enqueue(db, number)
        began = time.perf_counter()
        (claim,) = await engine.claim(uuid4(), {nothing.name: 0}, 1, 60.0)
        await engine.finish(claim, "done", result="null")
        found.append(time.perf_counter() - began)
    return statistics.median(found)


async def fill(db: postgres.Pool, count: int) -> None:
    await db.execute(
        f"""insert into prodkit_jobs (id, kind, status, arguments, result, finished_at)
            select uuidv7(), 'bench', 'done', '[[1],{{}}]', 'null', now() from generate_series(1, {count})""",
        timeout=300,
    )
    await db.execute("vacuum analyze prodkit_jobs", timeout=300)
    await db.execute("checkpoint", timeout=300)  # or the fill's own write-out is measured


async def main() -> Table:
    table = Table("jobs", "durable jobs over plain PgQueuer and bare SQL")
    with tempfile.TemporaryDirectory() as directory, Postgres(Path(directory) / "postgres") as server:
        url = server.create_database("bench")
        async with (
            postgres.Pool(url, min_size=10, max_size=10) as db,
            asyncpg.create_pool(url, min_size=10, max_size=10) as pool,
        ):
            await jobs.install(db)
            rates = []
            for _ in range(ROUNDS):
                theirs = await plain(pool)
                rates.append((await ours(db)) / theirs)
            table.add("jobs a second ÷ plain PgQueuer", statistics.median(rates), floor=0.6)
            table.add("enqueue ÷ bare INSERT", await enqueue_over_insert(db), ceiling=1.5)
            await db.execute("truncate pgqueuer, prodkit_jobs cascade")
            engine = jobs.PostgresEngine(db)
            await fill(db, 1000)
            few = await dequeue(engine, db)
            await fill(db, FINISHED)
            many = await dequeue(engine, db)
            table.add(f"dequeue above {FINISHED:,} finished runs ÷ above 1,000", many / few, ceiling=1.3)
    return table


if __name__ == "__main__":
    run(main)
