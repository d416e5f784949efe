"""Research rows as their owner sees them: begin, read, stop, ask a source again, accept a draft, delete."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from advisory.research.model import EXTERNAL, PROFILE, STEPS, Kind, Research, Step
from advisory.research.plan import Draft
from advisory.store.research_events import append
from prodkit import jobs, postgres

if TYPE_CHECKING:
    from prodkit.postgres.checkout import Connection

__all__ = ["COLUMNS", "STEP_COLUMNS", "Researches", "research_from"]

COLUMNS = "id, kind, persona_id, expert_id, subject, context, status, created_at, finished_at, accepted_at, last_seq"
STEP_COLUMNS = (
    "position, name, status, text, items, reason, model, avatar_id, fetched_at,"
    " extract(epoch from finished_at - started_at)::float8 as seconds"
)
_AGAIN = "status in ('failed', 'unset', 'stopped')"


def research_from(row: Any, steps: Sequence[Any] = ()) -> Research:
    return Research(**dict(row), steps=tuple(Step(**dict(each)) for each in steps))


class Researches:
    """Every statement names the owner."""

    def __init__(self, db: postgres.Pool, job: jobs.Job[[UUID], None]) -> None:
        self._db = db
        self._job = job
        self._jobs = jobs.Runs(db)

    async def begin(
        self,
        owner_id: int,
        kind: Kind,
        *,
        subject: str,
        context: str,
        persona_id: int | None = None,
        form_key: UUID | None = None,
    ) -> tuple[UUID, bool]:
        """The research, its steps and its job, in one transaction; returns its id, and whether this call made it.

        The same form again, and a persona that is being enriched already, lead to the one that is there.
        """
        async with self._db.transaction() as tx:
            made: UUID | None = await tx.fetchval(
                """insert into researches (owner_id, kind, persona_id, subject, context, form_key)
                   values ($1, $2, $3, $4, $5, $6) on conflict do nothing returning id""",
                owner_id,
                kind,
                persona_id,
                subject,
                context,
                form_key,
            )
            if made is None:
                first: UUID = await tx.fetchval(
                    """select id from researches where owner_id = $1 and (form_key = $2
                       or (persona_id = $3 and status in ('queued', 'running'))) order by created_at desc limit 1""",
                    owner_id,
                    form_key,
                    persona_id,
                )
                return first, False
            await tx.executemany(
                "insert into research_sources (research_id, position, name) values ($1, $2, $3)",
                [(made, n, name) for n, name in enumerate(STEPS, start=1)],
            )
            await self._enqueue(tx, made)
        return made, True

    async def get(self, owner_id: int, research_id: UUID) -> Research | None:
        """One snapshot of a research and its steps, so that a page and its stream fit together."""
        async with self._db.transaction(isolation="repeatable_read", readonly=True) as tx:
            row = await tx.fetchrow(
                f"select {COLUMNS} from researches where id = $1 and owner_id = $2",  # noqa: S608
                research_id,
                owner_id,
            )
            if row is None:
                return None
            steps = await tx.fetch(
                f"select {STEP_COLUMNS} from research_sources where research_id = $1 order by position",  # noqa: S608
                research_id,
            )
        return research_from(row, steps)

    async def latest(self, owner_id: int, persona_id: int) -> Research | None:
        """The newest enrichment of a persona."""
        found = await self._db.fetchval(
            "select id from researches where owner_id = $1 and persona_id = $2 order by created_at desc limit 1",
            owner_id,
            persona_id,
        )
        return None if found is None else await self.get(owner_id, found)

    async def drafts(self, owner_id: int) -> list[Research]:
        """Clones that were not accepted yet, newest first, without their steps."""
        rows = await self._db.fetch(
            f"""select {COLUMNS} from researches where owner_id = $1 and kind = 'clone' and accepted_at is null
                order by created_at desc limit 20""",  # noqa: S608
            owner_id,
        )
        return [research_from(row) for row in rows]

    async def stop(self, owner_id: int, research_id: UUID) -> bool:
        """End it at once and keep what has come. Its job is cancelled: the worker can write no more.

        Locks the job's row first, as the worker does; in the other order the two would deadlock.
        """
        async with self._db.transaction() as tx:
            job = await tx.fetchval(
                "select job from researches where id = $1 and owner_id = $2 and status in ('queued', 'running')",
                research_id,
                owner_id,
            )
            if job is not None:
                await self._jobs.cancel(job, connection=tx)
            row = await tx.fetchrow(
                """update researches set status = 'stopped', finished_at = now()
                   where id = $1 and owner_id = $2 and status in ('queued', 'running') returning id""",
                research_id,
                owner_id,
            )
            if row is None:
                return False
            await tx.execute(
                """update research_sources set status = 'stopped', finished_at = null
                   where research_id = $1 and status in ('waiting', 'running')""",
                research_id,
            )
            await append(tx, research_id, "research.finished", {"status": "stopped"})
        return True

    async def again(self, owner_id: int, research_id: UUID, name: str) -> bool:
        """Ask one source again, or all that are missing ("todas"); a new text leads to a new profile, the rest stays.

        False when nothing is missing there, when it still runs, or when its draft was accepted.
        """
        names = [name] if name in STEPS else list(STEPS)
        async with self._db.transaction() as tx:
            row = await tx.fetchrow(
                """select id from researches where id = $1 and owner_id = $2 and accepted_at is null
                   and status in ('done', 'partial', 'failed', 'stopped') and not exists (
                       select from researches as other where other.persona_id = researches.persona_id
                       and other.status in ('queued', 'running')) for update""",
                research_id,
                owner_id,
            )
            if row is None:
                return False
            found = await tx.fetch(
                f"""update research_sources set status = 'waiting', reason = '', started_at = null, finished_at = null
                    where research_id = $1 and name = any($2::text[]) and {_AGAIN} returning name""",  # noqa: S608
                research_id,
                names,
            )
            if not found:
                return False
            if {each["name"] for each in found} & {"web", "videos"}:
                await tx.execute(
                    """update research_sources set status = 'waiting', reason = '', started_at = null,
                       finished_at = null where research_id = $1 and name = $2""",
                    research_id,
                    PROFILE,
                )
            await tx.execute(
                "update researches set status = 'queued', finished_at = null where id = $1", research_id
            )
            await self._enqueue(tx, research_id)
        return True

    async def accept(self, owner_id: int, research_id: UUID, fields: Mapping[str, str]) -> int | None:
        """The expert that a clone's draft has become, as the person corrected it; None when there is no open draft."""
        async with self._db.transaction() as tx:
            row = await tx.fetchrow(
                """update researches set accepted_at = now() where id = $1 and owner_id = $2 and kind = 'clone'
                   and accepted_at is null and status in ('done', 'partial') returning id""",
                research_id,
                owner_id,
            )
            if row is None:
                return None
            expert_id: int = await tx.fetchval(
                """insert into experts (owner_id, name, role, goals, style, avatar_id, simulated)
                   select $1, $3, $4, $5, $6,
                       (select avatar_id from research_sources where research_id = $2 and name = 'photo'), true
                   returning id""",
                owner_id,
                research_id,
                fields["name"],
                fields["role"],
                fields["goals"],
                fields["style"],
            )
            await tx.execute("update researches set expert_id = $2 where id = $1", research_id, expert_id)
        return expert_id

    async def save_draft(self, owner_id: int, research_id: UUID, draft: Draft, *, subject: str) -> bool:
        """Keep the person's corrections of a draft that is not accepted yet."""
        async with self._db.transaction() as tx:
            done = await tx.execute(
                """update research_sources set text = $3 from researches
               where research_id = $2 and research_sources.name = 'profile' and researches.id = research_id
                 and owner_id = $1 and accepted_at is null and researches.status in ('done', 'partial')
                 and research_sources.status = 'done'""",
                owner_id,
                research_id,
                draft.as_text(),
            )
            if done == "UPDATE 1":
                await tx.execute("update researches set subject = $2 where id = $1", research_id, subject)
        return done == "UPDATE 1"

    async def delete(self, owner_id: int, research_id: UUID) -> bool:
        """Remove it and all it found, at once and for good; one that runs is stopped first."""
        await self.stop(owner_id, research_id)
        done = await self._db.execute(
            "delete from researches where id = $1 and owner_id = $2", research_id, owner_id
        )
        return done == "DELETE 1"

    async def _enqueue(self, tx: Connection, research_id: UUID) -> None:
        await append(tx, research_id, "research.queued", {"total": len(EXTERNAL)})
        job = await self._job.enqueue(tx, research_id)
        await tx.execute("update researches set job = $2 where id = $1", research_id, job.id)
