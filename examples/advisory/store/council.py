"""The worker's half of a council's rows. Every function runs in a transaction that holds the run for its worker, so a
worker that was overtaken, or whose run was stopped, changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from advisory.council.model import RunStatus, Seat
from advisory.store.events import append
from advisory.store.runs import SEAT_COLUMNS, seat_from

if TYPE_CHECKING:
    from prodkit.postgres.checkout import Connection

__all__ = ["CouncilRows"]


class CouncilRows:
    """Seats, synthesis and events of a run, written step by step."""

    async def begin(self, tx: Connection, run_id: UUID) -> tuple[str, tuple[Seat, ...]] | None:
        """Return the question and the seats of a run that is to be worked on, or None when it has ended."""
        row = await tx.fetchrow(
            """update runs set status = 'running', started_at = coalesce(started_at, now())
               from (select id, status from runs where id = $1 for update) as before
               where runs.id = before.id and before.status in ('queued', 'running')
               returning runs.question, before.status = 'running' as resumed""",
            run_id,
        )
        if row is None:
            return None
        await tx.execute(
            "update seats set status = 'waiting', started_at = null where run_id = $1 and status = 'running'",
            run_id,
        )
        seats = await self.seats(tx, run_id)
        await append(tx, run_id, "run.started", {"total": len(seats), "resumed": row["resumed"]})
        return row["question"], seats

    async def seats(self, tx: Connection, run_id: UUID) -> tuple[Seat, ...]:
        """The seats as they stand now."""
        rows = await tx.fetch(
            f"select {SEAT_COLUMNS} from seats where run_id = $1 order by position",  # noqa: S608
            run_id,
        )
        return tuple(seat_from(row) for row in rows)

    async def seat_started(self, tx: Connection, run_id: UUID, seat: Seat) -> None:
        await tx.execute(
            "update seats set status = 'running', started_at = now() where run_id = $1 and position = $2",
            run_id,
            seat.position,
        )
        await append(tx, run_id, "seat.started", {"position": seat.position, "name": seat.name})

    async def seat_done(self, tx: Connection, run_id: UUID, seat: Seat, *, text: str, model: str) -> None:
        await tx.execute(
            """update seats set status = 'done', text = $3, model = $4, finished_at = now()
               where run_id = $1 and position = $2""",
            run_id,
            seat.position,
            text,
            model,
        )
        await append(tx, run_id, "seat.done", await _progress(tx, run_id, seat))

    async def seat_failed(self, tx: Connection, run_id: UUID, seat: Seat, *, reason: str) -> None:
        await tx.execute(
            """update seats set status = 'failed', reason = $3, finished_at = now()
               where run_id = $1 and position = $2""",
            run_id,
            seat.position,
            reason,
        )
        await append(tx, run_id, "seat.failed", {**await _progress(tx, run_id, seat), "reason": reason})

    async def chair_started(self, tx: Connection, run_id: UUID) -> str:
        """Return the part of the synthesis that an earlier worker has stored."""
        begun: str = await tx.fetchval("select synthesis from runs where id = $1", run_id)
        await append(tx, run_id, "chair.started", {"resumed": bool(begun)})
        return begun

    async def chair_wrote(self, tx: Connection, run_id: UUID, text: str) -> None:
        """The synthesis goes on with `text`."""
        await tx.execute("update runs set synthesis = synthesis || $2 where id = $1", run_id, text)
        await append(tx, run_id, "chair.text", {"text": text})

    async def finish(
        self,
        tx: Connection,
        run_id: UUID,
        status: RunStatus,
        *,
        synthesis: str | None = None,
        model: str = "",
        reason: str = "",
    ) -> None:
        """The last write: the result and the event that ends every page's stream. None keeps what is stored."""
        await tx.execute(
            """update runs set status = $2, synthesis = coalesce($3, synthesis), synthesis_model = $4,
               synthesis_reason = $5, finished_at = now() where id = $1""",
            run_id,
            status,
            synthesis,
            model,
            reason,
        )
        await append(tx, run_id, "run.finished", {"status": status})


async def _progress(tx: Connection, run_id: UUID, seat: Seat) -> dict[str, Any]:
    row = await tx.fetchrow(
        """select count(*) filter (where status in ('done', 'failed', 'stopped')) as settled, count(*) as total
           from seats where run_id = $1""",
        run_id,
    )
    assert row is not None
    return {"position": seat.position, "name": seat.name, "settled": row["settled"], "total": row["total"]}
