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
from uuid import uuid4

import asyncpg

from benchmarks.harness import Table, run
from prodkit import jobs, postgres
from prodkit.testing.servers import Postgres

JOBS, ROUNDS = 400, 5
FINISHED = int(os.environ.get("PRODKIT_JOBS_FINISHED", "1000000"))


@jobs.job(name="bench")
async def nothing(number: int) -> None:
    """Do nothing but count."""
    called.append(number)


called: list[int] = []


async def ours(db: postgres.Pool) -> float:
    """Jobs a second through one worker."""
    for number in range(JOBS):
        await nothing.enqueue(db, number)
    called.clear()
    began = time.perf_counter()
    async with jobs.Worker(db, [nothing], concurrency=50, keep=None):
        while len(called) < JOBS:
            await asyncio.sleep(0.005)
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
    """Time of an enqueue by time of an INSERT of the same values into a plain table; the two take turns, one by one."""
    await db.execute(
        "create table if not exists bare (id uuid primary key, kind text, arguments text, at timestamptz)"
    )
    bare, enqueues = list[float](), list[float]()
    for number in range(ROUNDS * 200):
        began = time.perf_counter()
        await db.execute("insert into bare values ($1, 'bench', $2, now())", uuid4(), f"[[{number}],{{}}]")
        between = time.perf_counter()
        await nothing.enqueue(db, number)
        bare.append(between - began)
        enqueues.append(time.perf_counter() - between)
    return statistics.median(enqueues) / statistics.median(bare)


async def dequeue(engine: jobs.PostgresEngine, db: postgres.Pool) -> float:
    """Seconds of a claim and its end."""
    await nothing.enqueue(db, 1)
    began = time.perf_counter()
    (claim,) = await engine.claim(uuid4(), {nothing.name: 0}, 1, 60.0)
    await engine.finish(claim, "done", result="null")
    return time.perf_counter() - began


async def dequeues(few: postgres.Pool, many: postgres.Pool, count: int) -> tuple[float, float]:
    """The ratio of claims above many finished runs to claims above few, at the median and at the mean; by turns."""
    low, high = list[float](), list[float]()
    for _ in range(count):
        low.append(await dequeue(jobs.PostgresEngine.of(few), few))
        high.append(await dequeue(jobs.PostgresEngine.of(many), many))
    return statistics.median(high) / statistics.median(low), statistics.mean(high) / statistics.mean(low)


async def fill(db: postgres.Pool, count: int) -> None:
    """Add finished runs and nothing else: no vacuum, no analyze, no checkpoint."""
    await db.execute(
        f"""insert into prodkit_jobs (id, kind, status, arguments, result, finished_at)
            select uuidv7(), 'bench', 'done', '[[1],{{}}]', 'null', now() from generate_series(1, {count})""",
        timeout=300,
    )


async def above_a_million(table: Table, server: Postgres, few: postgres.Pool) -> None:
    """Fill a second database whose connections have prepared their statements while it was small."""
    await few.execute("truncate pgqueuer, prodkit_jobs cascade")
    async with postgres.Pool(server.create_database("many"), min_size=10, max_size=10) as many:
        await jobs.install(many)
        for db in (few, many):
            await fill(db, 1000)
            await db.execute("analyze prodkit_jobs")
        await dequeues(few, many, 100)
        await fill(many, FINISHED)
        at_once = await dequeues(few, many, 100)
        await asyncio.sleep(20)
        settled = await dequeues(few, many, 300)
    name = f"dequeue above {FINISHED:,} finished runs ÷ above 1,000"
    table.add(f"{name}, at once after the fill", at_once[0], ceiling=1.3)
    table.add(f"{name}, 20 s later", settled[0], ceiling=1.3)
    table.note(
        f"Ratios of the means: {at_once[1]:.2f} at once, {settled[1]:.2f} later (the fill is written out)."
    )


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
            await above_a_million(table, server, db)
    return table


if __name__ == "__main__":
    run(main)
