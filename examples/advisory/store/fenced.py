"""What a worker writes to a run. Each write names the fence under which the worker took it, in one transaction
with its event; a worker that was overtaken, or whose run was stopped, gets StaleFenceError and has changed nothing.

Each may be called again after an error: what is recorded already is not recorded twice.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from uuid import UUID

from advisory.council.model import RunStatus, Seat
from advisory.store.events import append
from advisory.store.runs import SEAT_COLUMNS, seat_from
from prodkit import postgres

if TYPE_CHECKING:
    from prodkit.postgres import Connection

__all__ = ["FencedRuns", "StaleFenceError", "Taken"]


class StaleFenceError(Exception):
    """Somebody else has the run now, or it has ended: leave it alone."""


class Taken:
    """A run in the hands of one worker."""

    def __init__(
        self, run_id: UUID, fence: int, question: str, resumed: bool, seats: tuple[Seat, ...]
    ) -> None:
        self.id = run_id
        self.fence = fence
        self.question = question
        self.resumed = resumed
        self.seats = seats


class FencedRuns:
    """The worker's half of the table ``runs``."""

    def __init__(self, db: postgres.Pool) -> None:
        self._db = db

    async def take(self, run_id: UUID) -> Taken | None:
        """Raises the fence and takes the run over; None when nothing is left to do."""
        async with self._db.transaction() as tx:
            row = await tx.fetchrow(
                """update runs set fence = fence + 1, status = 'running', started_at = coalesce(started_at, now())
                   from (select id, status from runs where id = $1 for update) as before
                   where runs.id = before.id and before.status in ('queued', 'running')
                   returning runs.fence, runs.question, before.status = 'running' as resumed""",
                run_id,
            )
            if row is None:
                return None
            await tx.execute(
                "update seats set status = 'waiting', started_at = null where run_id = $1 and status = 'running'",
                run_id,
            )
            rows = await tx.fetch(
                f"select {SEAT_COLUMNS} from seats where run_id = $1 order by position",  # noqa: S608
                run_id,
            )
            await append(tx, run_id, "run.started", {"total": len(rows), "resumed": row["resumed"]})
        return Taken(
            run_id, row["fence"], row["question"], row["resumed"], tuple(seat_from(each) for each in rows)
        )

    @asynccontextmanager
    async def _held(self, run: Taken) -> AsyncIterator[Connection]:
        async with self._db.transaction() as tx:
            mine = await tx.fetchval(
                "select true from runs where id = $1 and fence = $2 and status = 'running' for update",
                run.id,
                run.fence,
            )
            if not mine:
                raise StaleFenceError(f"run {run.id} is no longer ours")
            yield tx

    async def holds(self, run: Taken) -> bool:
        """Whether the run is still in the hands of the worker that took it as `run`."""
        mine = await self._db.fetchval(
            "select true from runs where id = $1 and fence = $2 and status = 'running'", run.id, run.fence
        )
        return bool(mine)

    async def seat_started(self, run: Taken, seat: Seat) -> None:
        async with self._held(run) as tx:
            changed = await tx.execute(
                """update seats set status = 'running', started_at = now()
                   where run_id = $1 and position = $2 and status = 'waiting'""",
                run.id,
                seat.position,
            )
            if changed != "UPDATE 0":
                await append(tx, run.id, "seat.started", {"position": seat.position, "name": seat.name})

    async def seat_done(self, run: Taken, seat: Seat, *, text: str, model: str) -> None:
        async with self._held(run) as tx:
            changed = await tx.execute(
                """update seats set status = 'done', text = $3, model = $4, finished_at = now()
                   where run_id = $1 and position = $2 and status = 'running'""",
                run.id,
                seat.position,
                text,
                model,
            )
            if changed != "UPDATE 0":
                await append(tx, run.id, "seat.done", await _progress(tx, run, seat))

    async def seat_failed(self, run: Taken, seat: Seat, *, reason: str) -> None:
        async with self._held(run) as tx:
            changed = await tx.execute(
                """update seats set status = 'failed', reason = $3, finished_at = now()
                   where run_id = $1 and position = $2 and status = 'running'""",
                run.id,
                seat.position,
                reason,
            )
            if changed != "UPDATE 0":
                await append(tx, run.id, "seat.failed", {**await _progress(tx, run, seat), "reason": reason})

    async def seats(self, run: Taken) -> tuple[Seat, ...]:
        """As they stand now."""
        rows = await self._db.fetch(
            f"select {SEAT_COLUMNS} from seats where run_id = $1 order by position",  # noqa: S608
            run.id,
        )
        return tuple(seat_from(row) for row in rows)

    async def chair_started(self, run: Taken) -> None:
        async with self._held(run) as tx:
            await append(tx, run.id, "chair.started", {})

    async def finish(
        self, run: Taken, status: RunStatus, *, synthesis: str = "", model: str = "", reason: str = ""
    ) -> None:
        """The last write: the result and the event that ends every page's stream."""
        async with self._held(run) as tx:
            await tx.execute(
                """update runs set status = $2, synthesis = $3, synthesis_model = $4, synthesis_reason = $5,
                   finished_at = now() where id = $1""",
                run.id,
                status,
                synthesis,
                model,
                reason,
            )
            await append(tx, run.id, "run.finished", {"status": status})


async def _progress(tx: Connection, run: Taken, seat: Seat) -> dict[str, Any]:
    row = await tx.fetchrow(
        """select count(*) filter (where status in ('done', 'failed', 'stopped')) as settled, count(*) as total
           from seats where run_id = $1""",
        run.id,
    )
    assert row is not None
    return {"position": seat.position, "name": seat.name, "settled": row["settled"], "total": row["total"]}
