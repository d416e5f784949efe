"""PgQueuer around the council: takes jobs, survives a restart of PostgreSQL, hands jobs over at shutdown."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta
from uuid import UUID

import asyncpg
from loguru import logger
from pgqueuer import PgQueuer, RetryRequested
from pgqueuer.models import Context, Job

from advisory.store.jobs import ENTRYPOINT, requeue_lost
from advisory.store.purge import purge
from advisory.worker.council import Council
from advisory.worker.warm import imported
from prodkit import postgres
from prodkit.core.lifespan import Managed
from prodkit.core.secrets import Revealable, reveal

__all__ = ["Worker"]

_HEARTBEAT = timedelta(seconds=2)
"""A job whose worker was killed is picked up by another one this much later (PgQueuer's default is 30 s)."""
_DEQUEUE = timedelta(seconds=1)
_LOST_AFTER = 15.0
_PURGE_EVERY = 3600.0
_RECONNECT = 0.5


class Worker(Managed):
    """A task that works as long as it is not closed."""

    __slots__ = ("_council", "_db", "_dsn", "_leaving", "_queue", "_task")

    def __init__(self, dsn: str | Revealable, db: postgres.Pool, council: Council) -> None:
        self._dsn = dsn
        self._db = db
        self._council = council
        self._leaving = asyncio.Event()
        self._queue: PgQueuer | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._leaving.clear()
        self._task = asyncio.create_task(self._work(), name="council worker")

    async def aclose(self) -> None:
        """Takes no more jobs and gives back those it holds, so that the next process goes on with them at once."""
        self._leaving.set()
        if self._queue is not None:
            self._queue.shutdown.set()
        task, self._task = self._task, None
        if task is None:
            return
        if self._queue is not None:
            await asyncio.wait({task}, timeout=5.0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    async def wait(self) -> None:
        """Until somebody closes it."""
        await self._leaving.wait()

    async def _work(self) -> None:
        await imported("anthropic")
        told = ""
        while not self._leaving.is_set():
            try:
                await self._connected()
                told = ""
            except Exception as error:  # noqa: BLE001 - whatever it was, the next connection may be better
                if type(error).__name__ != told:
                    told = type(error).__name__
                    logger.warning("the queue was lost ({}); connecting again until it is back", told)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._leaving.wait(), _RECONNECT)

    async def _connected(self) -> None:
        pool = await asyncpg.create_pool(
            reveal(self._dsn),
            min_size=1,
            max_size=4,
            timeout=3.0,
            command_timeout=10.0,
            server_settings={"application_name": "advisory-worker"},
        )
        try:
            self._queue = queue = PgQueuer.from_asyncpg_pool(pool)
            queue.entrypoint(ENTRYPOINT)(self._job)
            logger.info("the council worker takes jobs")
            sweeps = [
                asyncio.create_task(self._sweep(), name="council sweep"),
                asyncio.create_task(self._purge(), name="purge"),
            ]
            try:
                await queue.run(
                    dequeue_timeout=_DEQUEUE,
                    heartbeat_timeout=_HEARTBEAT,
                    batch_size=4,
                )  # its listener check may probe before the listener is there (1.6.0), so it must not end us
            finally:
                for sweep in sweeps:
                    sweep.cancel()
                await asyncio.gather(*sweeps, return_exceptions=True)
        finally:
            self._queue = None
            pool.terminate()

    async def _job(self, job: Job, context: Context) -> None:
        assert job.payload is not None
        run_id = UUID(bytes=job.payload)
        holding = asyncio.create_task(self._council.hold(run_id), name=f"council {run_id}")
        leaving = asyncio.create_task(self._leaving.wait())
        try:
            # PgQueuer cancels this scope when the user stops the run: the calls under way are dropped.
            with context.cancellation:
                await asyncio.wait({holding, leaving}, return_when=asyncio.FIRST_COMPLETED)
                if holding.done():
                    holding.result()
                    return
            if self._leaving.is_set() and not context.cancellation.cancel_called:
                raise RetryRequested(delay=timedelta(0), reason="the process is shutting down")
        finally:
            for task in (holding, leaving):
                task.cancel()
            await asyncio.gather(holding, leaving, return_exceptions=True)

    async def _sweep(self) -> None:
        """A run without a job (its failure was logged and the row removed, say) gets a new one."""
        while True:
            with suppress(Exception):
                for run_id in await requeue_lost(self._db, older_than=_LOST_AFTER):
                    logger.warning("council {} had lost its job and is queued again", run_id)
            await asyncio.sleep(_LOST_AFTER / 3)

    async def _purge(self) -> None:
        """What was deleted ninety days ago goes for good, and so do sessions that are long over."""
        while True:
            with suppress(Exception):
                if gone := await purge(self._db):
                    logger.info("purged {} rows for good", gone)
            await asyncio.sleep(_PURGE_EVERY)
