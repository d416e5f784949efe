"""The table of agreement and dissent, a durable step of the council's job."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any
from uuid import UUID

from advisory.council.agreement import AgreementReply, points_of
from advisory.council.model import Point, Seat
from advisory.council.prompts import agreement_messages, agreement_system
from advisory.worker.answers import Answer, Answerer, ask
from prodkit import jobs

if TYPE_CHECKING:
    from advisory.store.agreement import AgreementRows

__all__ = ["AGREEMENT_LIMIT", "compare_opinions"]

AGREEMENT_LIMIT = 45.0
_EMPTY = "os pareceres não puderam ser comparados"


async def compare_opinions(
    rows: AgreementRows, claude: Answerer, run_id: UUID, question: str, seats: Sequence[Seat]
) -> None:
    """Compare two opinions or more. A comparison that fails leaves the council whole: it becomes a reason."""
    if sum(seat.status == "done" for seat in seats) < 2:
        return

    async def save(tx: Any, answer: Answer) -> None:
        points = tuple(
            Point(**{**each, "agree": tuple(each["agree"]), "disagree": tuple(each["disagree"])})
            for each in answer.data or ()
        )
        reason = answer.reason or ("" if points else _EMPTY)
        await rows.compared(tx, run_id, points, reason, answer.spend("agreement"))

    async def compare() -> Answer:
        return await ask(
            "the comparison",
            AGREEMENT_LIMIT,
            lambda: claude.parse(
                model=AgreementReply,
                max_tokens=1500,
                system=agreement_system(),
                messages=agreement_messages(question, seats),
            ),
            read=lambda reply: [asdict(each) for each in points_of(reply.parsed, seats)],
        )

    await jobs.step.using(version=1, write=save)("agreement", compare)
