"""Runs in PostgreSQL for callers and housekeeping: enqueue, look, signal, cancel, retry, purge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from prodkit.errors import DatabaseError
from prodkit.jobs import sql
from prodkit.jobs.schema import CHANNEL
from prodkit.jobs.values import Enqueued, KindStats, NewRun, Run, RunStatus, Stats

if TYPE_CHECKING:
    from prodkit.postgres import Pool

__all__ = ["PostgresRuns"]


class PostgresRuns:
    """The half of :class:`~prodkit.jobs.PostgresEngine` that no worker needs.

    Args:
        db: a pool.
    """

    def __init__(self, db: Pool) -> None:
        self._db = db

    async def enqueue(self, new: NewRun, connection: Any = None) -> Enqueued:
        """Add a run with one statement.

        Args:
            new: the run.
            connection: a connection in a transaction of the caller, or None.
        """
        if new.tenant_limit:
            if connection is not None:
                return await self._enqueue_held(connection, new)
            async with self._db.transaction() as tx:
                return await self._enqueue_held(tx, new)
        target = connection if connection is not None else self._db
        if new.key is not None:
            return await self._insert(target, new, held_back=False)
        await target.execute(
            sql.ENQUEUE,
            new.id,
            new.kind,
            new.tenant,
            new.priority,
            new.arguments,
            new.delay,
            new.deadline,
        )
        return Enqueued(new.id)

    async def _enqueue_held(self, tx: Any, new: NewRun) -> Enqueued:
        await tx.execute(sql.LOCK_TENANT, f"prodkit jobs {new.kind} {new.tenant}")
        active = await tx.fetchval(sql.TENANT_ACTIVE, new.kind, new.tenant)
        return await self._insert(tx, new, held_back=active >= new.tenant_limit)

    async def _insert(self, target: Any, new: NewRun, *, held_back: bool) -> Enqueued:
        arguments = (
            new.id,
            new.kind,
            new.key,
            new.tenant,
            new.priority,
            new.arguments,
            new.delay,
            new.deadline,
            held_back,
        )
        for _ in range(5):
            # A key that a concurrent transaction is inserting is invisible to this statement's snapshot.
            row = await target.fetchrow(sql.ENQUEUE_KEYED, *arguments)
            if row is not None:
                return Enqueued(row["id"], bool(row["created"]))
        raise DatabaseError(f"the key {new.key!r} of {new.kind} is in another transaction's hands")

    async def take_signal(self, run_id: UUID, name: str) -> str | None:
        """Return the JSON text that was sent under this name, or None.

        Args:
            run_id: the id of the run.
            name: the name of the step, signal or schedule.
        """
        found: str | None = await self._db.fetchval(sql.TAKE_SIGNAL, run_id, name)
        return found

    async def send_signal(self, run_id: UUID, name: str, data: str) -> bool:
        """Store a signal; the first of its name counts. A run that waits for it becomes due.

        Args:
            run_id: the id of the run.
            name: the name of the step, signal or schedule.
            data: JSON text.
        """
        return bool(await self._db.fetchval(sql.SEND_SIGNAL, run_id, name, data))

    async def sweep(self) -> list[tuple[UUID, str]]:
        """Queue unfinished runs without a queue row; renew the statistics of a table that has doubled."""
        if await self._db.fetchval(sql.GROWN):
            await self._db.execute(sql.ANALYZE)
        rows = await self._db.fetch(sql.SWEEP)
        return [(row["id"], row["kind"]) for row in rows]

    async def promote(self, kind: str, tenant: str, limit: int) -> None:
        """Queue runs of a tenant that were held back, as far as `limit` allows.

        Args:
            kind: the name of the job.
            tenant: whose runs.
        """
        async with self._db.transaction() as tx:
            await tx.execute(sql.LOCK_TENANT, f"prodkit jobs {kind} {tenant}")
            room = limit - await tx.fetchval(sql.TENANT_ACTIVE, kind, tenant)
            if room > 0:
                await tx.execute(sql.PROMOTE, kind, tenant, room)

    async def held_back(self) -> list[tuple[str, str]]:
        """Return kind and tenant of every run that is held back."""
        return [(row["kind"], row["tenant"]) for row in await self._db.fetch(sql.HELD_BACK)]

    async def purge(self, *, older: float, limit: int = 1000, dead: bool = False) -> int:
        """Remove finished runs, and PgQueuer's log of the same age.

        Args:
            older: seconds since the end.
            limit: the limit.
            dead: remove dead letters too.
        """
        gone = await self._db.fetchval(sql.PURGE, older, limit, dead)
        await self._db.execute(sql.PURGE_LOG, older, limit)
        return int(gone)

    async def get(self, run_id: UUID) -> Run | None:
        """Return one run with the names of its steps.

        Args:
            run_id: the id of the run.
        """
        row = await self._db.fetchrow(sql.GET, run_id)
        return None if row is None else sql.run_from(row)

    async def list(
        self, *, status: RunStatus | None = None, kind: str | None = None, limit: int = 50
    ) -> list[Run]:
        """Return runs, the newest first.

        Args:
            status: where the run stands.
            kind: the name of the job.
            limit: the limit.
        """
        rows = await self._db.fetch(sql.LIST, status, kind, limit)
        return [sql.run_from(row) for row in rows]

    async def cancel(self, run_id: UUID, connection: Any = None) -> bool:
        """Raise the fence, remove the queue row and notify the worker, with one statement.

        Args:
            run_id: the id of the run.
            connection: a connection in a transaction of the caller, or None.
        """
        target = connection if connection is not None else self._db
        return bool(await target.fetchval(sql.CANCEL, run_id, CHANNEL))

    async def retry(self, run_id: UUID, *, forget: Sequence[str] = (), accept: bool = False) -> bool:
        """Queue a dead or cancelled run again.

        Args:
            run_id: the id of the run.
            forget: remove a ``started`` row (steps: names to call again).
            accept: use recorded results although their code has changed.
        """
        async with self._db.transaction() as tx:
            if not await tx.fetchval(sql.REVIVE, run_id):
                return False
            await tx.execute(sql.FORGET, run_id, [*forget])
            if accept:
                await tx.execute(sql.ACCEPT, run_id)
        return True

    async def resolve(self, run_id: UUID, step: str, result: str) -> bool:
        """Record a step by hand.

        Args:
            run_id: the id of the run.
            step: the name of the step.
            result: JSON text.
        """
        return bool(await self._db.fetchval(sql.RESOLVE, run_id, step, result))

    async def stats(self) -> Stats:
        """Return the queue in numbers."""
        row = await self._db.fetchrow(sql.STATS)
        return Stats(**dict(row)) if row is not None else Stats()

    async def kinds(self) -> tuple[KindStats, ...]:
        """Return the queue in numbers for each job that has something to show, by name."""
        return tuple([KindStats(**dict(row)) for row in await self._db.fetch(sql.KINDS)])
