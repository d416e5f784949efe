"""Research as a durable job: each source is a step, and so is the profile."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol
from uuid import UUID

from loguru import logger

from advisory.council.texts import reason_for
from advisory.research.model import PROFILE, Finding, Research
from advisory.research.plan import draft_from, has_material, outcome, to_fetch
from advisory.research.prompts import profile_messages, profile_system, query_of, scene_of
from advisory.sources.errors import SourceError, source_reason
from advisory.sources.sources import tidy
from advisory.worker.answers import Answerer
from advisory.worker.warm import imported
from prodkit import Deadline, files, jobs
from prodkit.errors import InvalidError, ProdkitError
from prodkit.policies import constant

if TYPE_CHECKING:
    from advisory.sources.unsplash import Photo
    from advisory.store.research_work import ResearchRows

__all__ = ["PROFILE_LIMIT", "SOURCE_LIMIT", "ResearchWork"]

SOURCE_LIMIT = 75.0
"""Seconds for one source, its retries included."""
PROFILE_LIMIT = 120.0
AT_ONCE = 12
"""Researches at once in all workers: a worker makes twenty jobs at a time, and councils are not to wait for minutes."""
_GIVEN_UP = "a pesquisa foi interrompida vezes demais"
_NO_MATERIAL = "nenhuma fonte trouxe texto para escrever um perfil"
_NO_DRAFT = "o modelo respondeu em um formato inesperado"


class Searcher(Protocol):
    """The sources behind a research: ``sources.Sources`` is one."""

    async def search(self, name: str, query: str) -> tuple[Finding, dict[str, Any]]: ...
    async def photo(self, image: str, download: str) -> Photo: ...


class ResearchWork:
    """Asks all sources at once, then the model for a profile from what they said."""

    def __init__(
        self, rows: ResearchRows, sources: Searcher, claude: Answerer, pictures: files.Validator
    ) -> None:
        self._rows = rows
        self._sources = sources
        self._claude = claude
        self._pictures = pictures

    def job(self) -> jobs.Job[[UUID], None]:
        """The job that makes a research. Outages of PostgreSQL are waited for, second by second."""
        return jobs.Job(
            self.make,
            name="research",
            attempts=30,
            backoff=constant(1.0),
            concurrency=AT_ONCE,
            on_dead=self.give_up,
        )

    async def make(self, research_id: UUID) -> None:
        """Bring a research to its end. After a crash, only the steps that are missing are made."""
        async with jobs.transaction() as tx:
            research = await self._rows.begin(tx, research_id)
        if research is None:
            return
        await imported("anthropic")  # seconds, at the first job of a process: off the event loop
        asked = await jobs.step("plan", lambda: list(to_fetch(research.steps)))
        await jobs.gather(*(self._source(research, name) for name in asked))
        await self._conclude(research)

    async def give_up(self, research_id: UUID) -> None:
        """End a research whose job is a dead letter: each further try would pay the sources again."""
        async with jobs.transaction() as tx:
            if await self._rows.begin(tx, research_id) is None:
                return
            for step in await self._rows.steps(tx, research_id):
                if not step.settled:
                    await self._rows.settled(tx, research_id, step.name, Finding(reason=_GIVEN_UP))
            await self._rows.finish(
                tx, research_id, outcome(await self._rows.steps(tx, research_id)), written=False
            )

    async def _source(self, research: Research, name: str) -> None:
        async def save(tx: Any, finding: Finding) -> None:
            await self._rows.settled(tx, research.id, name, finding)

        async def fetch() -> Finding:
            async with jobs.transaction() as tx:
                await self._rows.started(tx, research.id, name)
            query = scene_of(research) if name == "photo" else query_of(research)
            return await _answered(name, SOURCE_LIMIT, lambda: self._search(research.id, name, query))

        await jobs.step.using(version=1, write=save)(f"source:{name}", fetch)

    async def _search(self, research_id: UUID, name: str, query: str) -> Finding:
        finding, more = await self._sources.search(name, query)
        if name != "photo":
            return finding
        photo = await self._sources.photo(more["image"], more["download"])
        try:
            picture = await self._pictures.check(
                photo.content,
                filename=f"foto.{photo.media_type.rpartition('/')[2]}",
                declared_type=photo.media_type,
                sanitise=True,
            )
        except InvalidError:
            raise SourceError("shape") from None
        async with jobs.transaction() as tx:
            kept = await self._rows.picture(tx, research_id, picture)
        return Finding(items=finding.items, fetched_at=finding.fetched_at, avatar_id=kept)

    async def _conclude(self, research: Research) -> None:
        async with jobs.transaction() as tx:
            steps = await self._rows.steps(tx, research.id)
            if next(step for step in steps if step.name == PROFILE).settled:  # only a photo was asked again
                await self._rows.finish(tx, research.id, outcome(steps), written=False)
                return

        async def save(tx: Any, finding: Finding) -> None:
            await self._rows.settled(tx, research.id, PROFILE, finding)

            now = await self._rows.steps(tx, research.id)
            await self._rows.finish(tx, research.id, outcome(now), written=not finding.reason)

        async def write() -> Finding:
            if not has_material(steps):
                return Finding(reason=_NO_MATERIAL)
            async with jobs.transaction() as tx:
                await self._rows.started(tx, research.id, PROFILE)
            return await _answered(PROFILE, PROFILE_LIMIT, ask)

        async def ask() -> Finding:
            reply = await self._claude.create(
                max_tokens=1500,
                system=profile_system(research.kind),
                messages=profile_messages(research, steps),
            )
            text = tidy(reply.text, most=20_000)
            if research.kind == "clone":
                draft = draft_from(text)
                if draft is None:
                    return Finding(reason=_NO_DRAFT)
                text = draft.as_text()
            return Finding(text=text, model=reply.model)

        await jobs.step.using(version=1, write=save)(PROFILE, write)


async def _answered(name: str, limit: float, call: Callable[[], Awaitable[Finding]]) -> Finding:
    """One source's failure is not the research's: it becomes a reason."""
    try:
        with Deadline.after(limit):
            return await call()
    except SourceError as error:
        if error.code != "unset":
            logger.warning("{} gave nothing ({})", name, error.code)
        return Finding(reason=source_reason(error), unset=error.code == "unset")
    except ProdkitError as error:
        logger.warning("{} gave nothing ({})", name, type(error).__name__)
        return Finding(reason=reason_for(error) if name == PROFILE else source_reason(error))
    except Exception as error:  # noqa: BLE001 - recorded as a reason, and logged
        logger.exception("{} failed unexpectedly", name)
        return Finding(reason=reason_for(error) if name == PROFILE else source_reason(error))
