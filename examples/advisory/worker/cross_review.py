"""Blind cross-review: each expert ranks the others' opinions, each review a durable step of the council's job."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from advisory.council.cross_review import (
    LEAST_OPINIONS,
    anonymous,
    presented,
    ranked_seats,
    ranking_shape,
    to_review,
)
from advisory.council.model import Review, Seat
from advisory.council.prompts import review_messages, review_system
from advisory.worker.answers import Answer, Answerer, ask
from prodkit import jobs

if TYPE_CHECKING:
    from advisory.store.cross_review import ReviewRows

__all__ = ["REVIEW_LIMIT", "TOO_FEW", "review_opinions"]

REVIEW_LIMIT = 60.0
TOO_FEW = "a revisão cruzada precisa de pelo menos três pareceres"
_SILENT = "não deu parecer, e por isso não avalia"


async def review_opinions(
    rows: ReviewRows, claude: Answerer, run_id: UUID, question: str, seats: Sequence[Seat]
) -> None:
    """Bring the reviews that were asked for to their end. One that fails leaves the council whole."""
    async with jobs.transaction() as tx:
        found = await rows.reviews(tx, run_id)
    if not found:
        return
    answered = {seat.position for seat in seats if seat.status == "done"}

    async def open_reviews() -> list[int]:
        return [each.position for each in to_review(found)]

    async def begin(tx: Any, positions: list[int]) -> None:
        if positions:
            await rows.started(tx, run_id, len(positions))

    planned = await jobs.step.using(version=1, write=begin)("reviews", open_reviews)

    async def one(review: Review, seat: Seat) -> None:
        name = f"review:{seat.position}"

        async def save(tx: Any, answer: Answer) -> None:
            await rows.finished(tx, run_id, seat, answer.data or [], answer.reason, answer.spend(name))

        async def rank() -> Answer:
            if len(answered) < LEAST_OPINIONS:
                return Answer(reason=TOO_FEW, cost=0.0)
            if seat.position not in answered:
                return Answer(reason=_SILENT, cost=0.0)
            shown = presented(seats, seat.position, review.seed)
            opinions = {label: anonymous(other.text, seats) for label, other in shown.items()}
            return await ask(
                f"the review of {seat.name}",
                REVIEW_LIMIT,
                lambda: claude.parse(
                    model=ranking_shape(list(shown)),
                    max_tokens=400,
                    system=review_system(seat),
                    messages=review_messages(question, opinions),
                ),
                read=lambda reply: ranked_seats(shown, reply.parsed.ranking),
            )

        await jobs.step.using(version=1, write=save)(name, rank)

    by_position = {seat.position: seat for seat in seats}
    await jobs.gather(*(one(each, by_position[each.position]) for each in found if each.position in planned))
