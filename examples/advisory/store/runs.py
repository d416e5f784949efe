"""Council runs as their owner sees them: ask, read, stop, delete, restore."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from advisory.council.model import Run, Seat
from advisory.council.prompts import about_persona, expert_system
from advisory.store.agreement import points_from
from advisory.store.cross_review import REVIEW_COLUMNS, plan_reviews, review_from
from advisory.store.cursor import Cursor, keyset
from advisory.store.deleted import RUNS, Bin
from advisory.store.events import append
from advisory.store.experts import Expert
from advisory.store.personas import Persona
from advisory.store.search import folded, patterns
from advisory.store.spending import SPEND_COLUMNS, spend_from
from prodkit import jobs, postgres

if TYPE_CHECKING:
    from prodkit.postgres.checkout import Connection

__all__ = ["HISTORY_PAGE", "SEAT_COLUMNS", "Runs", "run_from", "seat_from"]

HISTORY_PAGE = 50
_STOPPED = "você interrompeu o conselho antes da resposta"
_RUN = (
    "id, question, status, created_at, finished_at, deleted_at, synthesis, synthesis_model, synthesis_reason,"
    " last_seq, agreement, agreement_reason, persona_id, persona_name"
)
SEAT_COLUMNS = (
    "position, name, role, system, avatar_id, status, text, reason, model,"
    " attempt, attempts, retry_at, retry_reason,"
    " extract(epoch from finished_at - started_at)::float8 as seconds"
)


def run_from(
    row: Any, seats: Sequence[Any] = (), reviews: Sequence[Any] = (), spends: Sequence[Any] = ()
) -> Run:
    return Run(
        **{**dict(row), "agreement": points_from(row["agreement"])},
        seats=tuple(seat_from(seat) for seat in seats),
        reviews=tuple(review_from(each) for each in reviews),
        spends=tuple(spend_from(each) for each in spends),
    )


def seat_from(row: Any) -> Seat:
    return Seat(**dict(row))


class Runs:
    """Every statement names the owner."""

    def __init__(self, db: postgres.Pool, council: jobs.Job[[UUID], None]) -> None:
        self._db = db
        self._council = council
        self._jobs = jobs.Runs(db)
        self._bin = Bin(db, RUNS)

    async def sent(self, owner_id: int, form_key: UUID) -> UUID | None:
        """The run that this very form made before, or None."""
        found: UUID | None = await self._db.fetchval(
            "select id from runs where owner_id = $1 and form_key = $2", owner_id, form_key
        )
        return found

    async def ask(
        self,
        owner_id: int,
        question: str,
        experts: Sequence[Expert],
        *,
        form_key: UUID | None = None,
        persona: Persona | None = None,
        reviewed: bool = False,
    ) -> tuple[UUID, bool]:
        """The run, its seats and its job, in one transaction: a run without a job cannot exist.

        A form that is sent twice makes one run: returns its id, and whether this call made it.
        """
        async with self._db.transaction() as tx:
            run_id: UUID | None = await tx.fetchval(
                """insert into runs (owner_id, question, form_key, persona_id, persona_version, persona_name)
                   values ($1, $2, $3, $4, $5, $6) on conflict (owner_id, form_key) do nothing returning id""",
                owner_id,
                question,
                form_key,
                persona and persona.id,
                persona and persona.version,
                persona.name if persona else "",
            )
            if run_id is None:
                first: UUID = await tx.fetchval(
                    "select id from runs where owner_id = $1 and form_key = $2", owner_id, form_key
                )
                return first, False
            await tx.executemany(
                """insert into seats (run_id, position, expert_id, name, role, system, avatar_id)
                   values ($1, $2, $3, $4, $5, $6, $7)""",
                [
                    (run_id, n, each.id, each.name, each.title, _system(each, persona), each.avatar_id)
                    for n, each in enumerate(experts, start=1)
                ],
            )
            if reviewed:
                await plan_reviews(tx, run_id, range(1, len(experts) + 1))
            await append(tx, run_id, "run.queued", {"total": len(experts)})
            await self._enqueue(tx, run_id)
        return run_id, True

    async def get(self, owner_id: int, run_id: UUID) -> Run | None:
        """The run with its seats, also a deleted one: its page offers to restore it.

        One snapshot: ``last_seq`` and the seats belong together, so that a page and the stream that continues it
        neither repeat nor lose anything.
        """
        async with self._db.transaction(isolation="repeatable_read", readonly=True) as tx:
            row = await tx.fetchrow(
                f"select {_RUN} from runs where id = $1 and owner_id = $2",  # noqa: S608
                run_id,
                owner_id,
            )
            if row is None:
                return None
            seats = await tx.fetch(
                f"select {SEAT_COLUMNS} from seats where run_id = $1 order by position",  # noqa: S608
                run_id,
            )
            reviews = await tx.fetch(
                f"select {REVIEW_COLUMNS} from reviews where run_id = $1 order by position",  # noqa: S608
                run_id,
            )
            spends = await tx.fetch(f"select {SPEND_COLUMNS} from spends where run_id = $1", run_id)  # noqa: S608
        return run_from(row, seats, reviews, spends)

    async def history(
        self,
        owner_id: int,
        *,
        deleted: bool = False,
        limit: int = HISTORY_PAGE,
        skip: int = 0,
        words: str = "",
        cursor: Cursor | None = None,
    ) -> list[Run]:
        """Newest first, without seats; with `words`, those whose question, synthesis or opinions contain them all.

        One page: behind `cursor` (nearest first where it asks for newer ones), or after `skip` entries.
        """
        where = "is not null" if deleted else "is null"
        text = folded(
            """question || ' ' || synthesis || ' ' || coalesce((
                   select string_agg(seats.name || ' ' || seats.text, ' ') from seats
                   where seats.run_id = runs.id), '')"""
        )
        there, order, values = keyset("created_at", cursor, 5)
        rows = await self._db.fetch(
            f"""select {_RUN} from runs where owner_id = $1 and deleted_at {where}
                    and ($3::text[] = '{{}}' or {text} like all ($3)) and {there}
                order by {order} limit $2 offset $4""",  # noqa: S608
            owner_id,
            limit,
            patterns(words),
            skip,
            *values,
        )
        return [run_from(row) for row in rows]

    async def experts_of(self, owner_id: int, run_id: str) -> set[int] | None:
        """The experts of one's own run, to ask the same ones again; None where there is no such run."""
        try:
            wanted = UUID(run_id)
        except ValueError:
            return None
        rows = await self._db.fetch(
            """select expert_id from seats join runs on runs.id = run_id
               where run_id = $1 and owner_id = $2 and expert_id is not null""",
            wanted,
            owner_id,
        )
        return {row["expert_id"] for row in rows} or None

    async def stop(self, owner_id: int, run_id: UUID) -> bool:
        """End a run at once and keep what is finished. Cancels its job first, in the order of the worker's locks."""
        async with self._db.transaction() as tx:
            job = await tx.fetchval(
                "select job from runs where id = $1 and owner_id = $2 and status in ('queued', 'running')",
                run_id,
                owner_id,
            )
            if job is not None:
                await self._jobs.cancel(job, connection=tx)
            row = await tx.fetchrow(
                """update runs set finished_at = now(), status = case when synthesis_model = '' then 'stopped'
                       when exists (select from seats where run_id = $1 and seats.status <> 'done') then 'partial'
                       else 'done' end
                   where id = $1 and owner_id = $2 and status in ('queued', 'running') returning status""",
                run_id,
                owner_id,
            )
            if row is None:
                return False
            for table in ("seats", "reviews"):
                await tx.execute(
                    f"""update {table} set status = 'stopped'
                        where run_id = $1 and status in ('waiting', 'running')""",  # noqa: S608 - ours
                    run_id,
                )
            await append(tx, run_id, "run.finished", {"status": row["status"]})
        return True

    async def resume(
        self, owner_id: int, run_id: UUID, *, keep_synthesis: bool = False, position: int | None = None
    ) -> bool:
        """Queue the missing experts (or the one at `position`) and the chairman again; finished opinions stay.

        With `keep_synthesis` the chairman goes on behind the beginning that is stored, unless an expert is asked
        again: then there is more to say, and reviews and the table are made again too.
        """
        async with self._db.transaction() as tx:
            row = await tx.fetchrow(
                """update runs set status = 'queued', finished_at = null, synthesis_model = '',
                       synthesis_reason = '', agreement = null, agreement_reason = '',
                       synthesis = case when $3 and not exists (select from seats where run_id = runs.id
                           and seats.status in ('failed', 'stopped')) then synthesis else '' end
                   where id = $1 and owner_id = $2 and deleted_at is null
                     and status in ('partial', 'unsynthesised', 'no_quorum', 'stopped')
                     and ($4::int is null or exists (select from seats where run_id = $1 and position = $4
                          and seats.status in ('failed', 'stopped'))) returning id""",
                run_id,
                owner_id,
                keep_synthesis,
                position,
            )
            if row is None:
                return False
            asked = await tx.fetch(
                """update seats set status = 'waiting', reason = '', outage = false, attempt = 0, retry_at = null,
                       started_at = null, finished_at = null
                   where run_id = $1 and status in ('failed', 'stopped') and ($2::int is null or position = $2)
                   returning position""",
                run_id,
                position,
            )
            await tx.execute(
                "update seats set status = 'failed', reason = $2 where run_id = $1 and status = 'stopped'",
                run_id,
                _STOPPED,
            )
            reviews = await tx.fetch("select position, status from reviews where run_id = $1", run_id)
            again = [each["position"] for each in reviews if asked or each["status"] == "stopped"]
            await plan_reviews(tx, run_id, again)
            total = await tx.fetchval("select count(*) from seats where run_id = $1", run_id)
            await append(tx, run_id, "run.queued", {"total": total})
            await self._enqueue(tx, run_id)
        return True

    async def _enqueue(self, tx: Connection, run_id: UUID) -> None:
        job = await self._council.enqueue(tx, run_id)
        await tx.execute("update runs set job = $2 where id = $1", run_id, job.id)

    async def delete(self, owner_id: int, run_id: UUID) -> bool:
        """To the bin, from which it can be taken for 90 days. One that still runs is stopped first."""
        await self.stop(owner_id, run_id)
        return await self._bin.remove(owner_id, run_id)

    async def restore(self, owner_id: int, run_id: UUID) -> bool:
        return await self._bin.restore(owner_id, run_id)


def _system(expert: Expert, persona: Persona | None) -> str:
    system = expert_system(
        name=expert.name,
        role=expert.role,
        goals=expert.goals,
        style=expert.style,
        simulated=expert.simulated,
    )
    if persona is None:
        return system
    return "\n\n".join(
        (
            system,
            about_persona(
                name=persona.name,
                role=persona.role,
                goals=persona.goals,
                style=persona.style,
                profile=persona.profile,
            ),
        )
    )
