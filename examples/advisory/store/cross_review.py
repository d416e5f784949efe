"""The worker's rows of a cross-review, under the same rule as those of the council."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from advisory.council.model import Review, Seat, Spend
from advisory.store.events import append
from advisory.store.spending import record

if TYPE_CHECKING:
    from prodkit.postgres.checkout import Connection

__all__ = ["REVIEW_COLUMNS", "ReviewRows", "plan_reviews", "review_from"]

REVIEW_COLUMNS = "position, seed, status, ranking, reason"


def review_from(row: Any) -> Review:
    return Review(**{**dict(row), "ranking": tuple(row["ranking"])})


async def plan_reviews(tx: Connection, run_id: UUID, positions: Sequence[int]) -> None:
    """Ask each of these seats for a review, in an order of its own; one that was there begins again."""
    await tx.executemany(
        """insert into reviews (run_id, position, seed) values ($1, $2, $3)
           on conflict (run_id, position) do update set status = 'waiting', ranking = '{}', reason = '', seed = $3""",
        [(run_id, position, secrets.randbits(53)) for position in positions],
    )


class ReviewRows:
    """Reviews and their events, written step by step."""

    async def reviews(self, tx: Connection, run_id: UUID) -> tuple[Review, ...]:
        """The reviews as they stand now; none where none were asked for."""
        rows = await tx.fetch(
            f"select {REVIEW_COLUMNS} from reviews where run_id = $1 order by position",  # noqa: S608
            run_id,
        )
        return tuple(review_from(row) for row in rows)

    async def started(self, tx: Connection, run_id: UUID, total: int) -> None:
        await append(tx, run_id, "reviews.started", {"reviews": total})

    async def finished(
        self, tx: Connection, run_id: UUID, seat: Seat, ranking: Sequence[int], reason: str, spend: Spend
    ) -> None:
        await tx.execute(
            "update reviews set status = $3, ranking = $4, reason = $5 where run_id = $1 and position = $2",
            run_id,
            seat.position,
            "failed" if reason else "done",
            list(ranking),
            reason,
        )
        await record(tx, run_id, spend)
        kind = "review.failed" if reason else "review.done"
        await append(tx, run_id, kind, {"name": seat.name, "reason": reason})
