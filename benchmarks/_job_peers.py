"""The same job on five systems: five steps of half a second whose calls are written to a file.

``python -m benchmarks._job_peers SYSTEM URL DIRECTORY SLOT`` is a worker that takes five runs at once; with ``enqueue
COUNT`` for SLOT it adds runs. Heartbeats and timeouts are as short as each system allows, about two seconds.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

STEPS = "abcde"
SECONDS = 0.5
AT_ONCE = 5
SILENCE = 2.0
SYSTEMS = ("prodkit", "dbos", "procrastinate", "pgqueuer", "celery")


class Log:
    """Lines ``run step begin|end`` of one process."""

    def __init__(self, directory: str) -> None:
        name = Path(directory) / f"{os.getpid()}.calls"
        self._file = os.open(name, os.O_CREAT | os.O_APPEND | os.O_WRONLY)

    def write(self, run: object, step: str, what: str) -> None:
        os.write(self._file, f"{run} {step} {what} {time.time():.3f}\n".encode())

    async def work(self, run: object, step: str) -> str:
        """One paid call."""
        self.write(run, step, "begin")
        await asyncio.sleep(SECONDS)
        self.write(run, step, "end")
        return step


async def prodkit(url: str, log: Log, count: int, slot: str) -> None:
    from prodkit import jobs, postgres

    @jobs.job(name="fleet", attempts=100)
    async def fleet(number: int) -> None:
        for step in STEPS:
            await jobs.step(step, log.work, number, step)
        log.write(number, "run", "end")

    async with postgres.Pool(url, min_size=1, max_size=6) as db:
        if count:
            await jobs.install(db)
            for number in range(count):
                await fleet.enqueue(db, number)
            return
        async with jobs.Worker(db, [fleet], concurrency=AT_ONCE, lease=SILENCE):
            await _forever()


async def pgqueuer(url: str, log: Log, count: int, slot: str) -> None:
    import asyncpg
    from pgqueuer import PgQueuer
    from pgqueuer.models import Job
    from pgqueuer.types import QueueExecutionMode

    from prodkit.jobs import pgqueuer_schema

    async with asyncpg.create_pool(url, min_size=1, max_size=6) as pool:
        queue = PgQueuer.from_asyncpg_pool(pool)
        if count:
            await pool.execute(pgqueuer_schema())
            for number in range(count):
                await queue.qm.queries.enqueue("fleet", str(number).encode())
            return

        @queue.entrypoint("fleet")
        async def fleet(job: Job) -> None:
            await _whole(log, int(job.payload or b""))

        await queue.qm.run(
            dequeue_timeout=timedelta(seconds=SILENCE / 2),
            batch_size=AT_ONCE // 2,
            max_concurrent_tasks=AT_ONCE,
            heartbeat_timeout=timedelta(seconds=SILENCE),
            mode=QueueExecutionMode.continuous,
        )


async def procrastinate(url: str, log: Log, count: int, slot: str) -> None:
    from procrastinate import App, JobContext, PsycopgConnector

    app = App(connector=PsycopgConnector(conninfo=url))

    @app.task(name="fleet", queue="fleet")
    async def fleet(number: int) -> None:
        await _whole(log, number)

    # The documented recipe: a periodic task gives stalled jobs back. Without it they stay "doing" for ever.
    @app.periodic(cron="* * * * * */2")
    @app.task(name="stalled", queue="stalled", queueing_lock="stalled", pass_context=True)
    async def stalled(context: JobContext, timestamp: int) -> None:
        for job in await app.job_manager.get_stalled_jobs(seconds_since_heartbeat=SILENCE):
            await app.job_manager.retry_job(job)

    async with app.open_async():
        if count:
            await app.schema_manager.apply_schema_async()
            for number in range(count):
                await fleet.defer_async(number=number)
            return
        await app.run_worker_async(
            concurrency=AT_ONCE + 1,
            update_heartbeat_interval=SILENCE / 3,
            stalled_worker_timeout=SILENCE,
            fetch_job_polling_interval=0.5,
            install_signal_handlers=False,
        )


async def dbos(url: str, log: Log, count: int, slot: str) -> None:
    from dbos import DBOS, DBOSClient, EnqueueOptions

    if count:
        client = DBOSClient(system_database_url=url)
        for number in range(count):
            options: EnqueueOptions = {
                "queue_name": "fleet",
                "workflow_name": "fleet",
                "workflow_id": f"run-{number}",
                "app_version": "1",
            }
            await client.enqueue_async(options, number)
        return
    # Each worker keeps its executor id over restarts: it then resumes its own runs, and no other worker does.
    DBOS(
        config={
            "name": "fleet",
            "system_database_url": url,
            "executor_id": slot,
            "application_version": "1",
            "log_level": "ERROR",
        }
    )

    @DBOS.step(name="work")
    async def work(number: int, step: str) -> str:
        return await log.work(number, step)

    @DBOS.workflow(name="fleet", max_recovery_attempts=100)
    async def fleet(number: int) -> None:
        for step in STEPS:
            await work(number, step)
        log.write(number, "run", "end")

    DBOS.launch()
    await DBOS.register_queue_async("fleet", worker_concurrency=AT_ONCE, polling_interval_sec=0.2)
    await _forever()


def celery(url: str, log: Log, count: int, slot: str) -> None:
    from celery import Celery

    app = Celery("fleet", broker=url)
    app.conf.update(
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        broker_transport_options={
            "visibility_timeout": 5
        },  # longer than a run takes, as its documentation asks
        broker_connection_retry_on_startup=True,
        task_ignore_result=True,
    )

    @app.task(name="fleet")
    def fleet(number: int) -> None:
        asyncio.run(_whole(log, number))

    if count:
        for number in range(count):
            fleet.delay(number)
        return
    app.worker_main(
        [
            "worker",
            "-P",
            "threads",
            "-c",
            str(AT_ONCE),
            "-n",
            f"{slot}@local",
            "-l",
            "CRITICAL",
            "--without-gossip",
        ]
    )


async def _whole(log: Log, number: int) -> None:
    for step in STEPS:
        await log.work(number, step)
    log.write(number, "run", "end")


async def _forever() -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()


def main(system: str, url: str, directory: str, slot: str, count: str = "0") -> None:
    work: Callable[[str, Log, int, str], Awaitable[None] | None] = globals()[system]
    result: Any = work(url, Log(directory), int(count), slot)
    if result is not None:
        asyncio.run(result)


if __name__ == "__main__":
    main(*sys.argv[1:])
