# ruff: noqa: T201
"""Workers that are killed, frozen or sent away, and a PostgreSQL that restarts: nothing is lost, nothing done twice."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections import Counter

import pytest
from tests.integration.jobs import fleet
from tests.stalls import Stopwatch

from prodkit import jobs, postgres
from prodkit.testing.servers import Postgres

pytestmark = [pytest.mark.integration, pytest.mark.slow]
RUNS = int(os.environ.get("PRODKIT_JOBS_RUNS", "120"))


async def until(condition, seconds: float) -> float:
    """Wait until the coroutine function `condition` returns true, and return the seconds that took."""
    with Stopwatch() as watch:
        while not await condition():
            assert watch.seconds < seconds, "it did not happen"
            await asyncio.sleep(0.02)
        return watch.seconds


@pytest.mark.timeout(500)
async def test_kills_a_frozen_worker_and_restarts_of_postgres_lose_and_repeat_nothing(tmp_path):
    seed = random.randrange(2**32)
    print(f"seed {seed}, {RUNS} runs")
    rng = random.Random(seed)
    kills = lost = 0
    with Postgres(tmp_path / "postgres") as server:  # with a directory: durable
        url = server.create_database("fleet")
        async with postgres.Pool(url, max_size=10) as db:
            await jobs.install(db)
            job = fleet.make_job(tmp_path)
            made = [(await job.enqueue(db, 0.5)).id for _ in range(RUNS)]
            with fleet.workers(url, tmp_path, 3) as processes:
                frozen = processes[0]
                began, frozen_at, restarts = time.monotonic(), 0.0, [6.0, 12.0]
                while True:
                    await asyncio.sleep(2 * rng.uniform(0.6, 1.4))
                    passed = time.monotonic() - began
                    if not frozen_at and passed > 3:
                        frozen.send(signal.SIGSTOP)
                        frozen_at = passed
                    elif frozen_at and passed > frozen_at + 8:
                        frozen.send(signal.SIGCONT)
                    if restarts and passed > restarts[0]:
                        restarts.pop(0)
                        await asyncio.to_thread(server.restart)
                    victims = [each for each in processes[1:] if each.is_ready()]
                    if victims:
                        victim = rng.choice(victims)
                        victim.send(signal.SIGKILL)
                        victim.end()
                        kills += 1
                        # The next kill does not wait until the new worker is ready.
                        processes[processes.index(victim)] = fleet.Process(url, tmp_path)
                    try:
                        stats = await db.fetchrow(
                            "select count(*) filter (where status = 'done') as done from prodkit_jobs"
                        )
                    except Exception:
                        continue
                    if stats["done"] == RUNS:
                        break
                    assert passed < 300, await jobs.Runs(db).stats()
                frozen.send(signal.SIGCONT)
            ended = Counter([(await jobs.Runs(db).get(each)).status for each in made])
            whole = [f"{name}@1" for name in "abcde"]
            results = [await jobs.Runs(db).result(each, timeout=1) for each in made]
            recorded = await db.fetchval("select count(*) from prodkit_job_steps")
            left = await db.fetchval("select count(*) from pgqueuer where entrypoint = 'fleet'")
    repeated = len(fleet.calls(tmp_path)) - RUNS * fleet.STEPS
    bound = (kills + 1) * 20 * 3 + lost
    print(
        f"{kills} kills in {passed:.0f} s, 2 restarts, 1 freeze: {ended}, {repeated} repeated calls (bound {bound})"
    )
    assert ended == {"done": RUNS}
    assert all(result == whole for result in results)
    assert recorded == RUNS * fleet.STEPS
    assert left == 0
    assert 0 <= repeated <= bound


async def test_another_worker_takes_over_after_a_kill(postgres_url, tmp_path):
    async with postgres.Pool(postgres_url) as db:
        await jobs.install(db)
        with fleet.workers(postgres_url, tmp_path, 1) as (first,):
            run = (await fleet.make_job(tmp_path).enqueue(db, 60.0)).id
            await until(lambda: _taken(db, run, 1), 10)
            with fleet.workers(postgres_url, tmp_path, 1):
                first.send(signal.SIGKILL)
                passed = await until(lambda: _taken(db, run, 2), 15)
    print(f"SIGKILL: taken over after {passed:.2f} s")
    assert passed < 2.9


async def test_a_worker_that_gets_sigterm_hands_over_and_repeats_nothing(postgres_url, tmp_path):
    async with postgres.Pool(postgres_url) as db:
        await jobs.install(db)
        with fleet.workers(postgres_url, tmp_path, 1) as (first,):
            run = (await fleet.make_job(tmp_path).enqueue(db, 3.0)).id
            await until(lambda: _taken(db, run, 1), 10)
            with fleet.workers(postgres_url, tmp_path, 1):
                await until(lambda: _steps(db, run, 1), 20)
                first.send(signal.SIGTERM)
                await until(lambda: _steps(db, run, 4), 20)  # those in flight are waited for
                passed = await until(lambda: _taken(db, run, 2), 15)
                print(f"SIGTERM: handed over {passed:.2f} s after the last step in flight")
                assert await jobs.Runs(db).result(run, timeout=20) == [f"{n}@1" for n in "abcde"]
    made = Counter(fleet.calls(tmp_path))
    assert set(made.values()) == {1}, made
    assert passed < 0.9


async def _taken(db: postgres.Pool, run, times: int) -> bool:
    found = await jobs.Runs(db).get(run)
    return found is not None and found.takes == times and found.status == "running"


async def _steps(db: postgres.Pool, run, count: int) -> bool:
    return await db.fetchval("select count(*) from prodkit_job_steps where run_id = $1", run) >= count


async def test_a_deploy_with_changed_steps_finishes_or_reports_every_run(postgres_url, tmp_path):
    async with postgres.Pool(postgres_url) as db:
        await jobs.install(db)
        job = fleet.make_job(tmp_path)
        made = [(await job.enqueue(db, 0.5)).id for _ in range(20)]
        with fleet.workers(postgres_url, tmp_path, 1, version=1) as (old,):
            await until(lambda: _some_done(db), 20)
            old.send(signal.SIGTERM)
            with fleet.workers(postgres_url, tmp_path, 1, version=2):
                await jobs.Runs(db).wait_idle(timeout=60)
        outcomes = Counter[str]()
        for each in made:
            run = await jobs.Runs(db).get(each)
            assert run is not None
            if run.status == "done":
                versions = {part.split("@")[1] for part in await jobs.Runs(db).result(each)}
                assert len(versions) == 1, "a result of two versions"
                outcomes["whole"] += 1
            else:
                assert run.error.startswith("StepChangedError"), run.error
                outcomes["reported"] += 1
        print(outcomes)
        assert outcomes.total() == 20


async def _some_done(db: postgres.Pool) -> bool:
    return await db.fetchval("select count(*) from prodkit_job_steps where name = 'a'") >= 5


async def test_two_hundred_enqueues_with_one_key_make_one_run(postgres_url, tmp_path):
    async with postgres.Pool(postgres_url, max_size=20) as db:
        await jobs.install(db)
        job = fleet.make_job(tmp_path).using(key="order:7")
        made = await asyncio.gather(*(job.enqueue(db, 0.1) for _ in range(200)))
        assert len({each.id for each in made}) == 1
        assert sum(each.created for each in made) == 1
        assert await db.fetchval("select count(*) from prodkit_jobs") == 1
        assert await db.fetchval("select count(*) from pgqueuer") == 1


async def test_a_run_exists_exactly_when_its_transaction_commits(postgres_url, tmp_path):
    async with postgres.Pool(postgres_url) as db:
        await jobs.install(db)
        job = fleet.make_job(tmp_path)
        with pytest.raises(RuntimeError, match="no"):
            async with db.transaction() as tx:
                await job.enqueue(tx, 0.1)
                raise RuntimeError("no")
        assert await db.fetchval("select count(*) from prodkit_jobs") == 0
        async with db.transaction() as tx:
            run = await job.enqueue(tx, 0.1)
        assert await jobs.Runs(db).get(run.id) is not None


async def test_four_workers_fire_each_tick_once(postgres_url):
    fired: list[str] = []

    @jobs.job(schedule=jobs.Every(0.1))
    async def tick() -> None:
        fired.append(str(jobs.current().run_id))

    async with postgres.Pool(postgres_url, max_size=20) as db:
        await jobs.install(db)
        fleet_of_four = [jobs.Worker(db, [tick], name=f"w{n}") for n in range(4)]
        for each in fleet_of_four:
            await each.start()
        await until(lambda: _ticks(db, 100), 60)
        for each in fleet_of_four:
            await each.aclose()
        first, last = await db.fetchrow(
            "select min(created_at), max(created_at) from prodkit_jobs where kind = $1", tick.name
        )
        count = await db.fetchval("select count(*) from prodkit_jobs")
        spent = (last - first).total_seconds() / 0.1
        print(f"{count} runs in {spent:.1f} ticks")
        assert count <= spent + 2  # never two for one tick
        assert len(set(fired)) == len(fired)


async def _ticks(db: postgres.Pool, count: int) -> bool:
    return await db.fetchval("select count(*) from prodkit_jobs") >= count
