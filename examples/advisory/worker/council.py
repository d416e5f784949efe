"""One council as a durable job: each expert is a step, and so is the synthesis."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol
from uuid import UUID

from loguru import logger

from advisory.council.model import Seat
from advisory.council.plan import has_quorum, outcome, to_ask
from advisory.council.prompts import chairman_messages, chairman_system, expert_messages
from advisory.council.texts import reason_for
from advisory.worker.draft import Draft, storable
from advisory.worker.warm import imported
from prodkit import Deadline, jobs
from prodkit.errors import ProdkitError
from prodkit.policies import constant

if TYPE_CHECKING:
    from advisory.store.council import CouncilRows

__all__ = ["CHAIR_LIMIT", "EXPERT_LIMIT", "Answer", "Answerer", "Council"]

EXPERT_LIMIT = 90.0
"""Seconds for one expert, retries and the fallback model included."""
CHAIR_LIMIT = 120.0
_GIVEN_UP = "o conselho foi interrompido vezes demais"


class Reply(Protocol):
    """The part of an answer that a council uses."""

    @property
    def text(self) -> str: ...
    @property
    def model(self) -> str: ...


class Answerer(Protocol):
    """The model behind a council: ``llm.Client`` is one."""

    async def create(self, *, max_tokens: int, system: str, messages: list[dict[str, Any]]) -> Reply: ...

    def stream(
        self, *, resume: str | None, max_tokens: int, system: str, messages: list[dict[str, Any]]
    ) -> Any: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A step's result: a text, or the reason why there is none, or no more than its beginning."""

    text: str = ""
    model: str = ""
    reason: str = ""


class Council:
    """Asks all experts at once, then the chairman."""

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
        await self._conclude(run_id, question)

    async def give_up(self, run_id: UUID) -> None:
        """End a run whose job is a dead letter: each further try would pay the model again."""
        async with jobs.transaction() as tx:
            if await self._rows.begin(tx, run_id) is None:
                return
            for seat in to_ask(await self._rows.seats(tx, run_id)):
                await self._rows.seat_failed(tx, run_id, seat, reason=_GIVEN_UP)
            seats = await self._rows.seats(tx, run_id)
            await self._rows.finish(tx, run_id, outcome(seats, synthesised=False), reason=_GIVEN_UP)

    async def _seat(self, run_id: UUID, question: str, seat: Seat) -> None:
        async def save(tx: Any, answer: Answer) -> None:
            if answer.reason:
                await self._rows.seat_failed(tx, run_id, seat, reason=answer.reason)
            else:
                await self._rows.seat_done(tx, run_id, seat, text=answer.text, model=answer.model)

        async def ask() -> Answer:
            async with jobs.transaction() as tx:
                await self._rows.seat_started(tx, run_id, seat)
            return await self._answer(
                seat.name,
                EXPERT_LIMIT,
                lambda: self._claude.create(
                    max_tokens=1200, system=seat.system, messages=expert_messages(question)
                ),
            )

        await jobs.step.using(version=1, write=save)(f"seat:{seat.position}", ask)

    async def _conclude(self, run_id: UUID, question: str) -> None:
        async with jobs.transaction() as tx:
            seats = await self._rows.seats(tx, run_id)
            if not has_quorum(seats):
                await self._rows.finish(tx, run_id, outcome(seats, synthesised=False))
                return

        async def save(tx: Any, answer: Answer) -> None:
            await self._rows.finish(
                tx,
                run_id,
                outcome(seats, synthesised=not answer.reason),
                synthesis=answer.text,
                model=answer.model,
                reason=answer.reason,
            )

        async def store(text: str) -> None:
            async with jobs.transaction() as tx:
                await self._rows.chair_wrote(tx, run_id, text)

        async def ask() -> Answer:
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

            answer = await self._answer("chairman", CHAIR_LIMIT, write)
            return replace(answer, text=draft.text) if answer.reason else answer

        await jobs.step.using(version=1, write=save)("synthesis", ask)

    async def _answer(self, who: str, limit: float, call: Callable[[], Awaitable[Reply]]) -> Answer:
        """One expert's failure is not the council's: it becomes a reason."""
        try:
            with Deadline.after(limit):
                reply = await call()
        except ProdkitError as error:
            logger.warning("{} gave no answer ({})", who, type(error).__name__)
            return Answer(reason=reason_for(error))
        except Exception as error:  # noqa: BLE001 - recorded as a reason, and logged
            logger.exception("{} failed unexpectedly", who)
            return Answer(reason=reason_for(error))
        return Answer(text=storable(reply.text), model=reply.model)
