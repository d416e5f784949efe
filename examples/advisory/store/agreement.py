"""The worker's row of the table of agreement and dissent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any
from uuid import UUID

from advisory.council.model import Point, Spend
from advisory.store.events import append
from advisory.store.spending import record

if TYPE_CHECKING:
    from prodkit.postgres.checkout import Connection

__all__ = ["AgreementRows", "points_from"]


def points_from(found: Any) -> tuple[Point, ...]:
    """The points of a run's column; none before the comparison."""
    return tuple(
        Point(**{**each, "agree": tuple(each["agree"]), "disagree": tuple(each["disagree"])})
        for each in found or ()
    )


class AgreementRows:
    """The points of a run, or the reason why there are none."""

    async def compared(
        self, tx: Connection, run_id: UUID, points: Sequence[Point], reason: str, spend: Spend
    ) -> None:
        await tx.execute(
            "update runs set agreement = $2::jsonb, agreement_reason = $3 where id = $1",
            run_id,
            [asdict(each) for each in points],
            reason,
        )
        await record(tx, run_id, spend)
        await append(tx, run_id, "agreement.done", {"points": len(points), "reason": reason})
