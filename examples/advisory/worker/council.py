"""One council, from its job to its result. Decisions are those of ``advisory.council``; this calls and records."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, Protocol
from uuid import UUID

from loguru import logger

from advisory.council.model import Seat
from advisory.council.plan import has_quorum, outcome, to_ask
from advisory.council.prompts import chairman_messages, chairman_system, expert_messages
from advisory.council.texts import reason_for
from advisory.store.fenced import FencedRuns, StaleFenceError, Taken
from prodkit import Deadline, Retry
from prodkit.errors import DatabaseError, PoolExhaustedError, ProdkitError

__all__ = ["CHAIR_LIMIT", "EXPERT_LIMIT", "Answerer", "Council"]

EXPERT_LIMIT = 90.0
"""Seconds for one expert, retries and the fallback model included."""
CHAIR_LIMIT = 120.0
MOST_TAKES = 20
"""A run that was taken this often without coming to an end is ended: each take may pay the model again."""
_GIVEN_UP = "o conselho foi interrompido vezes demais"
_WATCH = 1.0


class Reply(Protocol):
    """What is used of an answer."""

    @property
    def text(self) -> str: ...
    @property
    def model(self) -> str: ...


class Answerer(Protocol):
    """What the council asks: ``llm.Client`` is one."""

    async def create(self, *, max_tokens: int, system: str, messages: list[dict[str, Any]]) -> Reply: ...


class Council:
    """Asks all experts at once, then the chairman."""

    def __init__(self, runs: FencedRuns, claude: Answerer) -> None:
        self._runs = runs
        self._claude = claude
        self._record = Retry(attempts=10, on=(DatabaseError, PoolExhaustedError), wait=1.0)
        """An answer that was paid for is not lost to a restart of PostgreSQL: each record may be made again."""

    async def hold(self, run_id: UUID) -> None:
        """Brings a run to its end. Called again after a crash, it does what is missing.

        Returns quietly when the run was stopped or taken over meanwhile; only a database that is away is an error.
        """
        run = await self._runs.take(run_id)
        if run is None:
            return
        try:
            async with asyncio.TaskGroup() as group:
                watch = group.create_task(self._watch(run), name=f"council {run.id} watch")
                if run.fence > MOST_TAKES:
                    await self._give_up(run)
                else:
                    await self._work(run)
                watch.cancel()
        except* StaleFenceError:
            logger.info("council {} was stopped or taken over", run_id)

    async def _work(self, run: Taken) -> None:
        async with asyncio.TaskGroup() as group:
            for seat in to_ask(run.seats):
                group.create_task(self._ask(run, seat), name=f"council {run.id} seat {seat.position}")
        await self._conclude(run)

    async def _give_up(self, run: Taken) -> None:
        logger.error("council {} is ended after {} takes", run.id, run.fence)
        for seat in to_ask(run.seats):
            await self._record.run(self._runs.seat_started, run, seat)
            await self._record.run(self._runs.seat_failed, run, seat, reason=_GIVEN_UP)
        seats = await self._record.run(self._runs.seats, run)
        await self._record.run(self._runs.finish, run, outcome(seats, synthesised=False), reason=_GIVEN_UP)

    async def _watch(self, run: Taken) -> None:
        """Ends the calls under way when the run is no longer ours, also where PgQueuer's notice was lost."""
        while True:
            await asyncio.sleep(_WATCH)
            with suppress(ProdkitError):  # a database that is away says nothing about the run
                if not await self._runs.holds(run):
                    raise StaleFenceError(f"run {run.id} is no longer ours")

    async def _ask(self, run: Taken, seat: Seat) -> None:
        await self._record.run(self._runs.seat_started, run, seat)
        try:
            with Deadline.after(EXPERT_LIMIT):
                reply = await self._claude.create(
                    max_tokens=1200, system=seat.system, messages=expert_messages(run.question)
                )
        except ProdkitError as error:
            logger.warning("council {}: {} gave no opinion ({})", run.id, seat.name, type(error).__name__)
            await self._record.run(self._runs.seat_failed, run, seat, reason=reason_for(error))
        except Exception as error:  # noqa: BLE001 - one expert's failure is not the council's
            logger.exception("council {}: {} failed unexpectedly", run.id, seat.name)
            await self._record.run(self._runs.seat_failed, run, seat, reason=reason_for(error))
        else:
            await self._record.run(
                self._runs.seat_done, run, seat, text=_storable(reply.text), model=reply.model
            )

    async def _conclude(self, run: Taken) -> None:
        seats = await self._record.run(self._runs.seats, run)
        if not has_quorum(seats):
            await self._record.run(self._runs.finish, run, outcome(seats, synthesised=False))
            return
        await self._record.run(self._runs.chair_started, run)
        try:
            with Deadline.after(CHAIR_LIMIT):
                reply = await self._claude.create(
                    max_tokens=2000, system=chairman_system(), messages=chairman_messages(run.question, seats)
                )
        except ProdkitError as error:
            logger.warning("council {}: no synthesis ({})", run.id, type(error).__name__)
            await self._record.run(
                self._runs.finish, run, outcome(seats, synthesised=False), reason=reason_for(error)
            )
        except Exception as error:  # noqa: BLE001 - the opinions are kept, and the user may ask again
            logger.exception("council {}: the synthesis failed unexpectedly", run.id)
            await self._record.run(
                self._runs.finish, run, outcome(seats, synthesised=False), reason=reason_for(error)
            )
        else:
            await self._record.run(
                self._runs.finish,
                run,
                outcome(seats, synthesised=True),
                synthesis=_storable(reply.text),
                model=reply.model,
            )


def _storable(text: str) -> str:
    """Without what PostgreSQL's text cannot hold: NUL, and surrogates that stand alone."""
    return text.replace("\x00", "").encode("utf-8", "replace").decode()
