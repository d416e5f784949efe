"""One council as a durable job: each expert is a step, and so is the synthesis."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from advisory.council.model import Seat
from advisory.council.plan import has_quorum, outcome, to_ask
from advisory.council.prompts import chairman_messages, chairman_system, expert_messages
from advisory.worker.agreement import compare_opinions
from advisory.worker.answers import Answer, Answerer, Reply, ask
from advisory.worker.cross_review import review_opinions
from advisory.worker.draft import Draft
from advisory.worker.retries import announced
from advisory.worker.warm import imported
from prodkit import jobs
from prodkit.llm import LlmScheduled
from prodkit.policies import constant

if TYPE_CHECKING:
    from advisory.store.council import CouncilRows

__all__ = ["CHAIR_LIMIT", "EXPERT_LIMIT", "Council"]

EXPERT_LIMIT = 90.0
"""Seconds for one expert, retries and the fallback model included."""
CHAIR_LIMIT = 120.0
_GIVEN_UP = "o conselho foi interrompido vezes demais"


class Council:
    """Asks all experts at once, lets them review each other where that was asked for, then asks the chairman.

    ::

        seat:1 … seat:N ─▶ review:1 … review:N ─▶ synthesis ─▶ agreement ─▶ the outcome
    """

    def __init__(self, rows: CouncilRows, claude: Answerer) -> None:
        self._rows = rows
        self._claude = claude

    def job(self) -> jobs.Job[[UUID], None]:
        """The job that holds a council. Outages of PostgreSQL are waited for, second by second."""
        return jobs.Job(self.hold, name="council", attempts=30, backoff=constant(1.0), on_dead=self.give_up)

    async def hold(self, run_id: UUID) -> None:
        """Bring a run to its end. After a crash, only the steps that are missing are made."""
        async with jobs.transaction() as tx:
            begun = await self._rows.begin(tx, run_id)
        if begun is None:
            return
        await imported("anthropic")  # seconds, at the first council of a process: off the event loop
        question, seats = begun
        asked = await jobs.step("plan", lambda: [seat.position for seat in to_ask(seats)])
        await jobs.gather(*(self._seat(run_id, question, seat) for seat in seats if seat.position in asked))
        async with jobs.transaction() as tx:
            seats = await self._rows.seats(tx, run_id)
        await review_opinions(self._rows.cross_review, self._claude, run_id, question, seats)
        synthesised = has_quorum(seats) and await self._conclude(run_id, question, seats)
        if synthesised:
            await compare_opinions(self._rows.agreements, self._claude, run_id, question, seats)
        async with jobs.transaction() as tx:
            await self._rows.finish(tx, run_id, outcome(seats, synthesised=synthesised))

    async def give_up(self, run_id: UUID) -> None:
        """End a run whose job is a dead letter: each further try would pay the model again."""
        async with jobs.transaction() as tx:
            if await self._rows.begin(tx, run_id) is None:
                return
            for seat in to_ask(await self._rows.seats(tx, run_id)):
                await self._rows.seat_failed(tx, run_id, seat, reason=_GIVEN_UP, outage=True)
            seats = await self._rows.seats(tx, run_id)
            synthesised = await self._rows.has_synthesis(tx, run_id)
            reason = "" if synthesised else _GIVEN_UP
            await self._rows.finish(tx, run_id, outcome(seats, synthesised=synthesised), reason=reason)

    async def _seat(self, run_id: UUID, question: str, seat: Seat) -> None:
        name = f"seat:{seat.position}"

        async def save(tx: Any, answer: Answer) -> None:
            spend = answer.spend(name)
            if answer.reason:
                await self._rows.seat_failed(
                    tx, run_id, seat, reason=answer.reason, outage=answer.outage, spend=spend
                )
            else:
                await self._rows.seat_done(
                    tx, run_id, seat, text=answer.text, model=answer.model, spend=spend
                )

        async def waits(event: LlmScheduled) -> None:
            async with jobs.transaction() as tx:
                await self._rows.seat_waits(
                    tx,
                    run_id,
                    seat,
                    attempt=event.attempt,
                    attempts=event.attempts,
                    wait=timedelta(seconds=event.wait),
                    reason=event.after or event.reason,
                )

        async def opinion() -> Answer:
            async with jobs.transaction() as tx:
                await self._rows.seat_started(tx, run_id, seat)
            async with announced(waits):
                return await ask(
                    seat.name,
                    EXPERT_LIMIT,
                    lambda: self._claude.create(
                        max_tokens=1200, system=seat.system, messages=expert_messages(question)
                    ),
                )

        await jobs.step.using(version=1, write=save)(name, opinion)

    async def _conclude(self, run_id: UUID, question: str, seats: tuple[Seat, ...]) -> bool:
        """Ask the chairman; return True when there is a synthesis."""

        async def save(tx: Any, answer: Answer) -> None:
            await self._rows.synthesised(
                tx,
                run_id,
                text=answer.text,
                model=answer.model,
                reason=answer.reason,
                spend=answer.spend("synthesis"),
                outage=answer.outage,
                compared=sum(seat.status == "done" for seat in seats) > 1,
            )

        async def store(text: str, at: int) -> None:
            async with jobs.transaction() as tx:
                await self._rows.chair_wrote(tx, run_id, text, at=at)

        async def synthesis() -> Answer:
            async with jobs.transaction() as tx:
                draft = Draft(await self._rows.chair_started(tx, run_id), store)

            async def write() -> Reply:
                async with self._claude.stream(
                    resume=draft.text or None,
                    max_tokens=2000,
                    system=chairman_system(),
                    messages=chairman_messages(question, seats),
                ) as stream:
                    await draft.write(stream.text)
                    reply: Reply = stream.answer
                return reply

            answer = await ask("chairman", CHAIR_LIMIT, write)
            return replace(answer, text=draft.text) if answer.reason else answer

        answer = await jobs.step.using(version=1, write=save)("synthesis", synthesis)
        return not answer.reason
