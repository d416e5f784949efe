"""The worker's half of a research's rows. Every function runs in a transaction that holds the run for its worker, so a
worker that was overtaken, or whose research was stopped, changes nothing.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from advisory.research.model import PROFILE, Finding, Research, ResearchStatus, Step
from advisory.store.experts import add_avatar
from advisory.store.research import COLUMNS, STEP_COLUMNS, research_from
from advisory.store.research_events import append
from prodkit import files

if TYPE_CHECKING:
    from prodkit.postgres.checkout import Connection

__all__ = ["ResearchRows"]


class ResearchRows:
    """Steps, profile and events of a research, written one by one."""

    async def begin(self, tx: Connection, research_id: UUID) -> Research | None:
        """The research that is to be worked on, or None when it has ended."""
        row = await tx.fetchrow(
            f"""update researches set status = 'running'
                from (select id as was, status as before from researches where id = $1 for update) as old
                where id = was and before in ('queued', 'running')
                returning {COLUMNS}, before = 'running' as resumed""",  # noqa: S608
            research_id,
        )
        if row is None:
            return None
        await tx.execute(
            """update research_sources set status = 'waiting', started_at = null
               where research_id = $1 and status = 'running'""",
            research_id,
        )
        values = dict(row)
        resumed = values.pop("resumed")
        await append(tx, research_id, "research.started", {"resumed": resumed})
        return research_from(values, await self._rows(tx, research_id))

    async def steps(self, tx: Connection, research_id: UUID) -> tuple[Step, ...]:
        """The steps as they stand now."""
        return tuple(Step(**dict(row)) for row in await self._rows(tx, research_id))

    async def _rows(self, tx: Connection, research_id: UUID) -> list[Any]:
        return list(
            await tx.fetch(
                f"select {STEP_COLUMNS} from research_sources where research_id = $1 order by position",  # noqa: S608
                research_id,
            )
        )

    async def started(self, tx: Connection, research_id: UUID, name: str) -> None:
        await tx.execute(
            """update research_sources set status = 'running', started_at = now()
               where research_id = $1 and name = $2""",
            research_id,
            name,
        )
        event = "profile.started" if name == PROFILE else "source.started"
        await append(tx, research_id, event, {"name": name})

    async def settled(self, tx: Connection, research_id: UUID, name: str, finding: Finding) -> None:
        """Write what a source gave, or why it gave nothing."""
        status = "unset" if finding.unset else "failed" if finding.reason else "done"
        await tx.execute(
            """update research_sources set status = $3, text = $4, items = $5::jsonb, reason = $6, model = $7,
               avatar_id = $8, fetched_at = $9, finished_at = now() where research_id = $1 and name = $2""",
            research_id,
            name,
            status,
            finding.text,
            [asdict(each) for each in finding.items],
            finding.reason,
            finding.model,
            finding.avatar_id,
            datetime.fromisoformat(finding.fetched_at) if finding.fetched_at else None,
        )
        event = "source.done" if status == "done" else "source.failed"
        await append(tx, research_id, event, {"name": name, "reason": finding.reason})

    async def picture(self, tx: Connection, research_id: UUID, picture: files.CleanFile) -> UUID | None:
        """Store a checked photo for the research's owner."""
        owner: int | None = await tx.fetchval("select owner_id from researches where id = $1", research_id)
        return None if owner is None else await add_avatar(tx, owner, picture)

    async def finish(
        self, tx: Connection, research_id: UUID, status: ResearchStatus, *, written: bool
    ) -> None:
        """The last write: the persona's new profile where one was `written`, and the event that ends each stream."""
        await tx.execute(
            """update personas set version = version + 1,
                   profile = case when $2 then coalesce(profiles.text, profile) else profile end,
                   avatar_id = coalesce(personas.avatar_id, photos.avatar_id)
               from researches
               left join research_sources as profiles on profiles.research_id = researches.id
                   and profiles.name = 'profile' and profiles.status = 'done'
               left join research_sources as photos on photos.research_id = researches.id
                   and photos.name = 'photo' and photos.status = 'done'
               where researches.id = $1 and personas.id = researches.persona_id
                 and (($2 and profiles.text is not null)
                      or (personas.avatar_id is null and photos.avatar_id is not null))""",
            research_id,
            written,
        )
        await tx.execute(
            "update researches set status = $2, finished_at = now() where id = $1", research_id, status
        )
        await append(tx, research_id, "research.finished", {"status": status})
