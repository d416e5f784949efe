"""Runs in PostgreSQL, queued by PgQueuer.

PgQueuer's table and its dequeue statement decide who gets which run: priorities, delays, limits by kind, abandoned
rows. What a run is, and who may write to it, stands in ``prodkit_jobs``.
"""

from __future__ import annotations

import weakref
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar
from uuid import UUID

from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.errors import DatabaseError, PoolExhaustedError
from prodkit.jobs import sql
from prodkit.jobs.batching import GroupCommit
from prodkit.jobs.codec import storable
from prodkit.jobs.errors import RunLostError
from prodkit.jobs.listening import Listener
from prodkit.jobs.postgres_runs import PostgresRuns
from prodkit.jobs.schema import prepare
from prodkit.jobs.values import Claim, NewRun, Recorded, RunStatus, Tick, Write
from prodkit.policies.backoff import full_jitter
from prodkit.policies.retry import Retry

if TYPE_CHECKING:
    from prodkit.postgres import Pool

__all__ = ["PostgresEngine"]

T = TypeVar("T")


class PostgresEngine(PostgresRuns):
    """Keeps runs in the database of a pool.

    Args:
        db: a pool; the engine opens no connection of its own.
        runtime: clock and random generator of retries.
    """

    _of: ClassVar[weakref.WeakKeyDictionary[Any, PostgresEngine]] = weakref.WeakKeyDictionary()

    def __init__(self, db: Pool, *, runtime: Runtime = SYSTEM) -> None:
        super().__init__(db)
        self._runtime = runtime
        self._queries: Any = None
        # A result that was paid for is not lost to a restart of PostgreSQL: each write may be made again.
        self._persist = Retry(
            attempts=60,
            on=(DatabaseError, PoolExhaustedError),
            wait=full_jitter(0.2, cap=2.0),
            runtime=runtime,
        )
        self._records = GroupCommit(self._flush_records)
        self._ends = GroupCommit(self._flush_ends)
        self._releases = GroupCommit(self._flush_releases)

    @classmethod
    def of(cls, db: Pool) -> PostgresEngine:
        """Return the engine of `db`, the same for every caller."""
        engine = cls._of.get(db)
        if engine is None:
            engine = cls._of[db] = cls(db)
        return engine

    @classmethod
    def bare(cls) -> PostgresEngine:
        """Return an engine without a pool, for statements on a given connection."""
        return _BARE

    @property
    def name(self) -> str:
        """The engine in health reports."""
        return "postgres"

    async def prepare(self) -> None:
        """Raise DatabaseError naming the missing tables, MissingExtraError without PgQueuer."""
        self._pgqueuer()
        await prepare(self._db)

    async def now(self) -> float:
        """Return the server's time, in seconds of the epoch."""
        return float(await self._db.fetchval(sql.NOW))

    async def claim(self, worker: UUID, limits: Mapping[str, int], count: int, stale: float) -> list[Claim]:
        """Dequeue by PgQueuer, then raise the fence of each run.

        Args:
            worker: the id of the worker.
            limits: the kinds to take, each with its limit for the whole fleet (0: none).
            count: at most so many.
            stale: seconds of silence after which a worker counts as gone.
        """
        queries, parameter = self._pgqueuer()
        jobs = await queries.dequeue(
            batch_size=count,
            entrypoints={kind: parameter(limit) for kind, limit in limits.items()},
            queue_manager_id=worker,
            global_concurrency_limit=None,
            heartbeat_timeout=timedelta(seconds=stale),
        )
        if not jobs:
            return []
        queue_ids = {UUID(bytes=job.payload or b""): job.id for job in jobs}
        rows = await self._db.fetch(sql.TAKE, list(queue_ids), worker)
        claims = [sql.claim_from(row, queue_ids[row["id"]]) for row in rows]
        taken = {each.run_id for each in claims}
        gone = [queue_id for run_id, queue_id in queue_ids.items() if run_id not in taken]
        if gone:  # cancelled or purged between the queue and us
            await self._db.execute(sql.DROP_QUEUE_ROWS, gone)
        return claims

    async def beat(self, worker: UUID, claims: Sequence[Claim]) -> set[UUID]:
        """Renew the queue rows of runs that are still held, with one statement.

        Args:
            worker: the id of the worker.
            claims: the runs and their fences.
        """
        rows = await self._db.fetch(
            sql.BEAT,
            [each.run_id for each in claims],
            [each.fence for each in claims],
            [each.queue_id for each in claims],
            worker,
        )
        return {row["id"] for row in rows}

    async def record(
        self, claim: Claim, name: str, row: Recorded, write: Write | None = None, *, forget: bool = False
    ) -> bool:
        """Write one step; many share a statement, unless rows of the caller's go with it.

        Args:
            claim: the run and its fence.
            name: the name of the step, signal or schedule.
            row: the step as it is recorded.
            write: rows of the caller, written in the same transaction.
            forget: remove a ``started`` row (steps: names to call again).
        """
        if write is None and not forget:
            return await self._records.add((claim, name, row))
        return await self._persist.run(self._record_alone, claim, name, row, write, forget)

    async def _record_alone(
        self, claim: Claim, name: str, row: Recorded, write: Write | None, forget: bool
    ) -> bool:
        try:
            async with self.transaction(claim) as tx:
                if forget:
                    await tx.execute(sql.FORGET_STARTED, claim.run_id, name)
                    return True
                written = await tx.fetchval(
                    sql.RECORD_ONE,
                    claim.run_id,
                    name,
                    row.status,
                    claim.fence,
                    row.version,
                    row.arguments,
                    row.result,
                )
                if (
                    written and write is not None
                ):  # not written: an earlier try of ours was committed after all
                    await write(tx)
                return True
        except RunLostError:
            return False

    async def _flush_records(self, items: Sequence[tuple[Claim, str, Recorded]]) -> list[bool]:
        rows = await self._persist.run(
            self._db.fetch,
            sql.RECORD,
            [claim.run_id for claim, _, _ in items],
            [claim.fence for claim, _, _ in items],
            [name for _, name, _ in items],
            [row.status for _, _, row in items],
            [row.version for _, _, row in items],
            [row.arguments for _, _, row in items],
            [row.result for _, _, row in items],
        )
        held = {(row["id"], row["fence"]) for row in rows}
        return [(claim.run_id, claim.fence) in held for claim, _, _ in items]

    async def append(self, claim: Claim, step: str, first: int, chunks: Sequence[str]) -> bool:
        """Append chunks; a chunk that is there already stays.

        Args:
            claim: the run and its fence.
            step: the name of the step.
            first: the number of the first chunk.
            chunks: texts.
        """
        held = await self._persist.run(
            self._db.fetchval,
            sql.APPEND,
            claim.run_id,
            claim.fence,
            step,
            [first + n for n in range(len(chunks))],
            [storable(chunk) for chunk in chunks],
        )
        return bool(held)

    async def chunks(self, run_id: UUID, step: str) -> list[str]:
        """Return the chunks of a streamed step, in order.

        Args:
            run_id: the id of the run.
            step: the name of the step.
        """
        rows = await self._db.fetch(sql.CHUNKS, run_id, step)
        return [row["chunk"] for row in rows]

    async def finish(self, claim: Claim, status: RunStatus, *, result: str = "", error: str = "") -> bool:
        """End the run and remove its queue row.

        Args:
            claim: the run and its fence.
            status: where the run stands.
            result: JSON text.
            error: ``Class: message``.
        """
        return await self._ends.add((claim, status, result, storable(error)))

    async def _flush_ends(self, items: Sequence[tuple[Claim, RunStatus, str, str]]) -> list[bool]:
        rows = await self._persist.run(
            self._db.fetch,
            sql.FINISH,
            [claim.run_id for claim, *_ in items],
            [claim.fence for claim, *_ in items],
            [claim.queue_id for claim, *_ in items],
            [status for _, status, _, _ in items],
            [result for _, _, result, _ in items],
            [error for *_, error in items],
        )
        ended = {row["id"] for row in rows}
        return [claim.run_id in ended for claim, *_ in items]

    async def release(
        self, claim: Claim, *, delay: float, error: str = "", failed: bool = False, signal: str | None = None
    ) -> bool:
        """Put the run back into the queue, or out of it until a signal arrives.

        Args:
            claim: the run and its fence.
            delay: seconds until the run is due.
            error: ``Class: message``.
            failed: count a failed attempt.
            signal: a signal that makes it due sooner.
        """
        return await self._releases.add((claim, delay, storable(error), failed, signal))

    async def _flush_releases(
        self, items: Sequence[tuple[Claim, float, str, bool, str | None]]
    ) -> list[bool]:
        rows = await self._persist.run(
            self._db.fetch,
            sql.RELEASE,
            [claim.run_id for claim, *_ in items],
            [claim.fence for claim, *_ in items],
            [claim.queue_id for claim, *_ in items],
            [min(delay, sql.FOR_EVER - 2 * (signal is None)) for _, delay, _, _, signal in items],
            [error for _, _, error, _, _ in items],
            [failed for *_, failed, _ in items],
            [signal for *_, signal in items],
        )
        released = {row["id"] for row in rows}
        suspended = [claim.run_id for claim, _, _, _, signal in items if signal is not None]
        if suspended:
            await self._persist.run(self._db.execute, sql.WAKE_SIGNALLED, suspended)
        return [claim.run_id in released for claim, *_ in items]

    def transaction(self, claim: Claim) -> AbstractAsyncContextManager[Any]:
        """Open a transaction in which the run's row is locked.

        Args:
            claim: the run and its fence.
        """
        return self._held(claim)

    @asynccontextmanager
    async def _held(self, claim: Claim) -> AsyncIterator[Any]:
        async with self._db.transaction() as tx:
            if not await tx.fetchval(sql.HOLD, claim.run_id, claim.fence):
                raise RunLostError(f"run {claim.run_id} is no longer held by this worker")
            yield tx

    async def tick(self, name: str, period: Callable[[float], tuple[float, float]], new: NewRun) -> Tick:
        """Move the schedule's last tick and enqueue the run, in one transaction.

        Args:
            name: the name of the step, signal or schedule.
            period: returns the last tick and the next one for a moment.
            new: the run.
        """
        async with self._db.transaction() as tx:
            now = float(await tx.fetchval(sql.NOW))
            last, following = period(now)
            # A schedule that is new begins with its next tick; one that was missed for a while runs once.
            moved = await tx.fetchval(sql.TICK, name, last)
            if not moved:
                return Tick(run=None, late=0.0, wait=following - now)
            added = await self.enqueue(new, tx)
            return Tick(run=added.id, late=now - last, wait=following - now)

    def listen(self, on_work: Callable[[], None], on_cancel: Callable[[UUID], None]) -> Listener:
        """Return the source of notifications.

        Args:
            on_work: called when a run may be due.
            on_cancel: called with the id of a cancelled run.
        """
        return Listener(self._db, on_work, on_cancel, runtime=self._runtime)

    def _pgqueuer(self) -> Any:
        if self._queries is None:
            from prodkit.jobs.pgqueuer_internals import queries

            self._queries = queries(self._db)
        return self._queries


_BARE = PostgresEngine(None)  # type: ignore[arg-type]
