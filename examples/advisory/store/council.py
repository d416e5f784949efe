"""The worker's half of a council's rows. Every function runs in a transaction that holds the run for its worker, so a
worker that was overtaken, or whose run was stopped, changes nothing.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from advisory.council.model import RunStatus, Seat, Spend
from advisory.store.agreement import AgreementRows
from advisory.store.cross_review import ReviewRows
from advisory.store.events import append
from advisory.store.runs import SEAT_COLUMNS, seat_from
from advisory.store.spending import record

if TYPE_CHECKING:
    from prodkit.postgres.checkout import Connection

__all__ = ["CouncilRows"]


class CouncilRows:
    """Seats, synthesis and events of a run, written step by step."""

    def __init__(self) -> None:
        self.cross_review = ReviewRows()
        self.agreements = AgreementRows()

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

    async def seat_waits(
        self,
        tx: Connection,
        run_id: UUID,
        seat: Seat,
        *,
        attempt: int,
        attempts: int,
        wait: timedelta,
        reason: str,
    ) -> None:
        """An attempt of the seat's call waits: its number, and the time when it is sent."""
        await tx.execute(
            """update seats set attempt = $3, attempts = $4, retry_at = now() + $5, retry_reason = $6
               where run_id = $1 and position = $2 and status = 'running'""",
            run_id,
            seat.position,
            attempt,
            attempts,
            wait,
            reason,
        )
        await append(
            tx, run_id, "seat.waits", {"position": seat.position, "name": seat.name, "attempt": attempt}
        )

    async def seat_done(
        self, tx: Connection, run_id: UUID, seat: Seat, *, text: str, model: str, spend: Spend
    ) -> None:
        await tx.execute(
            """update seats set status = 'done', text = $3, model = $4, finished_at = now(), attempt = 0,
               retry_at = null where run_id = $1 and position = $2""",
            run_id,
            seat.position,
            text,
            model,
        )
        await record(tx, run_id, spend)
        await append(tx, run_id, "seat.done", await _progress(tx, run_id, seat))

    async def seat_failed(
        self,
        tx: Connection,
        run_id: UUID,
        seat: Seat,
        *,
        reason: str,
        outage: bool = False,
        spend: Spend | None = None,
    ) -> None:
        await tx.execute(
            """update seats set status = 'failed', reason = $3, outage = $4, finished_at = now(), attempt = 0,
               retry_at = null where run_id = $1 and position = $2""",
            run_id,
            seat.position,
            reason,
            outage,
        )
        if spend is not None:
            await record(tx, run_id, spend)
        await append(tx, run_id, "seat.failed", {**await _progress(tx, run_id, seat), "reason": reason})

    async def chair_started(self, tx: Connection, run_id: UUID) -> str:
        """Return the part of the synthesis that an earlier worker has stored."""
        begun: str = await tx.fetchval("select synthesis from runs where id = $1", run_id)
        await append(tx, run_id, "chair.started", {"resumed": bool(begun)})
        return begun

    async def chair_wrote(self, tx: Connection, run_id: UUID, text: str, *, at: int) -> None:
        """The synthesis goes on with `text` behind its first `at` characters; nothing when it does so already."""
        if await tx.fetchval(
            """update runs set synthesis = synthesis || $2
               where id = $1 and char_length(synthesis) = $3 returning true""",
            run_id,
            text,
            at,
        ):
            await append(tx, run_id, "chair.text", {"text": text})

    async def synthesised(
        self,
        tx: Connection,
        run_id: UUID,
        *,
        text: str,
        model: str,
        reason: str,
        spend: Spend,
        compared: bool = False,
        outage: bool = False,
    ) -> None:
        """The chairman's text, or the reason why there is none; the opinions may be `compared` after it.

        An `outage` of the service gives the council's quota back.
        """
        await tx.execute(
            """update runs set synthesis = $2, synthesis_model = $3, synthesis_reason = $4,
               refunded_at = case when $5 then now() else refunded_at end where id = $1""",
            run_id,
            text,
            model,
            reason,
            outage,
        )
        await record(tx, run_id, spend)
        if not reason:
            await append(tx, run_id, "chair.done", {"compared": compared})

    async def has_synthesis(self, tx: Connection, run_id: UUID) -> bool:
        """True when the synthesis is whole: only then its model is written."""
        return bool(await tx.fetchval("select synthesis_model <> '' from runs where id = $1", run_id))

    async def finish(self, tx: Connection, run_id: UUID, status: RunStatus, *, reason: str = "") -> None:
        """The last write: the outcome and the event that ends every page's stream.

        A run without a quorum whose seats all failed by an outage of the service gives its quota back.
        """
        await tx.execute(
            """update runs set status = $2, finished_at = now(),
               synthesis_reason = case when $3 = '' then synthesis_reason else $3 end,
               refunded_at = case when $2 = 'no_quorum' and not exists (
                   select 1 from seats where run_id = $1 and status = 'failed' and not outage) then now()
                   else refunded_at end
               where id = $1""",
            run_id,
            status,
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
