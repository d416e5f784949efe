"""Sixty bad seconds: every fault, one after the other, while ten councils are held; then the score."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar
from uuid import UUID, uuid4

from loguru import logger

from prodkit.errors import ProdkitError

if TYPE_CHECKING:
    from advisory.demo.theatre import Theatre
    from advisory.services import Services

__all__ = ["COUNCILS", "SCHEDULE", "BadMinute", "Score"]

T = TypeVar("T")
COUNCILS: Final = 10
EXPERTS: Final = 3
LENGTH: Final = 60.0
PATIENCE: Final = 120.0
"""Seconds after the minute within which every council has to come to its end."""
SCHEDULE: Final[tuple[tuple[float, str, float], ...]] = (
    # second, fault, its length
    (2, "worker", 0),
    (6, "redis", 12),
    (10, "postgres", 0),
    (16, "storm", 8),
    (20, "source-perplexity", 10),
    (21, "source-youtube", 10),
    (22, "source-unsplash", 10),
    (25, "worker", 0),
    (29, "network", 8),
    (39, "storm-all", 4),
    (46, "postgres", 0),
    (50, "redis", 6),
    (55, "worker", 0),
)
_QUESTIONS: Final = (
    "Devo aumentar os preços agora ou esperar o fim do ano?",
    "Vale a pena trocar o forno por um modelo maior?",
    "Contrato mais uma pessoa ou pago horas extras?",
    "Abro aos domingos ou descanso com a equipe?",
    "Compro o ponto ao lado ou invisto em entregas?",
)


@dataclass(frozen=True, slots=True)
class Score:
    """What became of ten councils."""

    asked: int
    finished: int
    whole: int
    repeated: int
    """Opinions that were stored twice."""
    lost: int
    """Councils without an end, opinions without text or reason, gaps in the numbers of events."""
    paid: int
    """Requests that the model answered."""
    needed: int
    """Answers that are in the councils. What was paid beyond was in flight when a worker was killed."""

    @property
    def perfect(self) -> bool:
        return self.finished == self.asked and not self.repeated and not self.lost


class BadMinute:
    """One performance."""

    def __init__(self, app: Services, theatre: Theatre, owner_id: int) -> None:
        self._app = app
        self._theatre = theatre
        self._owner_id = owner_id
        self._began = asyncio.get_running_loop().time()
        self.runs: list[UUID] = []
        self.score: Score | None = None
        self.problem = ""

    @property
    def over(self) -> bool:
        return self.score is not None or bool(self.problem)

    @property
    def second(self) -> int:
        """Seconds since it began."""
        return int(asyncio.get_running_loop().time() - self._began)

    async def play(self) -> None:
        """Ask two councils every nine seconds and play the schedule; then wait for every end, and count."""
        try:
            before = await asyncio.to_thread(self._theatre.answered)
            async with asyncio.timeout(LENGTH + PATIENCE + 60.0):
                await asyncio.gather(self._ask(), self._break())
                await self._end()
                after = await asyncio.to_thread(self._theatre.answered)
                self.score = await patient(lambda: self._count(after - before))
        except Exception as error:  # noqa: BLE001 - shown on the panel
            logger.warning("the bad minute broke off: {}", type(error).__name__)
            self.problem = "o minuto não chegou ao fim"

    async def _ask(self) -> None:
        experts = (await patient(lambda: self._app.experts.visible_to(self._owner_id)))[:EXPERTS]
        for n in range(COUNCILS):
            key = uuid4()  # the same council when the database answers late
            question = _QUESTIONS[n % len(_QUESTIONS)]
            ask = partial(self._app.runs.ask, self._owner_id, question, experts, form_key=key)
            run_id, _ = await patient(ask)
            self.runs.append(run_id)
            if n % 2:
                await asyncio.sleep(9.0)

    async def _break(self) -> None:
        for second, name, length in SCHEDULE:
            await asyncio.sleep(max(0.0, self._began + second - asyncio.get_running_loop().time()))
            if name in self._theatre.faults:
                self._theatre.begin(name, seconds=length)
        await asyncio.sleep(max(0.0, self._began + LENGTH - asyncio.get_running_loop().time()))

    async def _end(self) -> None:
        deadline = asyncio.get_running_loop().time() + PATIENCE
        while asyncio.get_running_loop().time() < deadline:
            open_runs = await patient(
                lambda: self._app.db.fetchval(
                    "select count(*) from runs where id = any($1) and status in ('queued', 'running')",
                    self.runs,
                )
            )
            if not open_runs:
                return
            await asyncio.sleep(0.5)

    async def _count(self, paid: int) -> Score:
        row = await self._app.db.fetchrow(
            """with mine as (select * from runs where id = any($1)),
                 opinions as (select run_id, data->>'position' as position, count(*) as times from run_events
                              where run_id = any($1) and kind = 'seat.done' group by 1, 2)
               select count(*) filter (where status not in ('queued', 'running')) as finished,
                 count(*) filter (where status = 'done') as whole,
                 count(*) filter (where status in ('queued', 'running'))
                   + (select count(*) from seats join mine on mine.id = run_id
                      where (seats.status = 'done' and text = '') or (seats.status = 'failed' and reason = '')
                         or (seats.status in ('waiting', 'running') and mine.status not in ('queued', 'running')))
                   + count(*) filter (where last_seq <> (select count(*) from run_events where run_id = mine.id))
                   as lost,
                 coalesce((select sum(times - 1) from opinions), 0) as repeated,
                 (select count(*) from seats where run_id = any($1) and seats.status = 'done')
                   + count(*) filter (where synthesis <> '') as needed
               from mine""",
            self.runs,
        )
        assert row is not None
        return Score(
            asked=len(self.runs),
            finished=row["finished"],
            whole=row["whole"],
            repeated=int(row["repeated"]),
            lost=row["lost"],
            paid=paid,
            needed=row["needed"],
        )


async def patient(call: Callable[[], Awaitable[T]]) -> T:
    """The result of `call`, asked again while the database is away: that is what this minute is about."""
    while True:
        try:
            return await call()
        except (ProdkitError, OSError):
            await asyncio.sleep(0.3)
