"""Conversations as their owner sees them: begin, ask, read, stop, go on, ask again, delete."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final
from uuid import UUID

from advisory.council.chat import Chat, Turn
from advisory.store.chat_turns import TURN_COLUMNS, append, turn_from
from advisory.store.cursor import Cursor, keyset
from advisory.store.deleted import CHATS, Bin
from advisory.store.search import folded, patterns
from prodkit import jobs, postgres

if TYPE_CHECKING:
    from prodkit.postgres.checkout import Connection

__all__ = ["CHATS_PAGE", "Chats", "StillAnsweringError"]

CHATS_PAGE: Final = 50
_CHAT: Final = (
    "id, name, role, system, avatar_id, run_id, about, created_at, changed_at, deleted_at, coalesce((select question"
    " from chat_turns where chat_id = chats.id and replaced_at is null order by position limit 1), '') as title"
)


class StillAnsweringError(Exception):
    """The conversation has an answer in progress: one at a time."""


class Chats:
    """Every statement names the owner."""

    def __init__(self, db: postgres.Pool, answer: jobs.Job[[UUID], None]) -> None:
        self._db = db
        self._answer = answer
        self._jobs = jobs.Runs(db)
        self._bin = Bin(db, CHATS)

    async def begin(
        self,
        owner_id: int,
        *,
        name: str,
        role: str,
        system: str,
        question: str,
        avatar_id: UUID | None = None,
        expert_id: int | None = None,
        run_id: UUID | None = None,
        about: str = "",
        opening: Sequence[Mapping[str, str]] = (),
        form_key: UUID | None = None,
    ) -> tuple[UUID, bool]:
        """The conversation with its first question and its job, in one transaction.

        A form that is sent twice begins one: returns the id, and whether this call made it.
        """
        async with self._db.transaction() as tx:
            chat_id: UUID | None = await tx.fetchval(
                """insert into chats (owner_id, name, role, system, avatar_id, expert_id, run_id, about, opening,
                       form_key) values ($1, $2, $3, $4, $5, $6, $7, $8, $9::jsonb, $10)
                   on conflict (owner_id, form_key) do nothing returning id""",
                owner_id,
                name,
                role,
                system,
                avatar_id,
                expert_id,
                run_id,
                about,
                [dict(each) for each in opening],
                form_key,
            )
            if chat_id is None:
                first = await self._sent(tx, owner_id, form_key)
                assert first is not None
                return first, False
            await self._add(tx, chat_id, 1, question, None)
        return chat_id, True

    async def sent(self, owner_id: int, form_key: UUID) -> UUID | None:
        """The conversation that this very form began before, or None."""
        return await self._sent(self._db, owner_id, form_key)

    async def asked(self, chat_id: UUID, form_key: UUID) -> bool:
        """Return True when this very form has asked its question before."""
        return await self._asked(self._db, chat_id, form_key)

    async def ask(
        self,
        owner_id: int,
        chat_id: UUID,
        question: str,
        *,
        instead_of: int | None = None,
        form_key: UUID | None = None,
    ) -> bool:
        """One more question; with `instead_of` it replaces the turn at that position and the later ones.

        Returns True when this call asked it, False when the same form had asked it before.

        Raises:
            StillAnsweringError: the answer before is not finished.
        """
        async with self._db.transaction() as tx:
            own = await tx.fetchval(
                "select true from chats where id = $1 and owner_id = $2 and deleted_at is null for update",
                chat_id,
                owner_id,
            )
            if not own or (form_key is not None and await self._asked(tx, chat_id, form_key)):
                return False
            if await tx.fetchval(
                "select true from chat_turns where chat_id = $1 and status in ('queued', 'running')", chat_id
            ):
                raise StillAnsweringError
            if instead_of is not None:
                await tx.execute(
                    """update chat_turns set replaced_at = now()
                       where chat_id = $1 and position >= $2 and replaced_at is null""",
                    chat_id,
                    instead_of,
                )
            position: int = await tx.fetchval(
                """select coalesce(max(position), 0) + 1 from chat_turns
                   where chat_id = $1 and replaced_at is null""",
                chat_id,
            )
            await self._add(tx, chat_id, position, question, form_key)
        return True

    async def get(self, owner_id: int, chat_id: UUID) -> Chat | None:
        """The conversation with its turns, also a deleted one. One snapshot, so that a stream continues it exactly."""
        async with self._db.transaction(isolation="repeatable_read", readonly=True) as tx:
            row = await tx.fetchrow(
                f"select {_CHAT} from chats where id = $1 and owner_id = $2",  # noqa: S608
                chat_id,
                owner_id,
            )
            if row is None:
                return None
            rows = await tx.fetch(
                f"select {TURN_COLUMNS} from chat_turns where chat_id = $1 order by position, created_at",  # noqa: S608
                chat_id,
            )
        turns = tuple(turn_from(each) for each in rows)
        return Chat(
            **dict(row),
            turns=tuple(each for each in turns if each.replaced_at is None),
            replaced=tuple(each for each in turns if each.replaced_at is not None),
        )

    async def turn(self, owner_id: int, chat_id: UUID, turn_id: UUID) -> Turn | None:
        """One turn of one's own conversation."""
        row = await self._db.fetchrow(
            f"""select {TURN_COLUMNS} from chat_turns where id = $1 and chat_id = $2
                and exists (select from chats where id = $2 and owner_id = $3)""",  # noqa: S608
            turn_id,
            chat_id,
            owner_id,
        )
        return turn_from(row) if row else None

    async def history(
        self,
        owner_id: int,
        *,
        deleted: bool = False,
        words: str = "",
        limit: int = CHATS_PAGE,
        skip: int = 0,
        cursor: Cursor | None = None,
    ) -> list[Chat]:
        """The latest first, without turns; with `words`, those whose questions or answers contain them all.

        One page: behind `cursor` (nearest first where it asks for newer ones), or after `skip` entries.
        """
        where = "is not null" if deleted else "is null"
        text = folded(
            """name || ' ' || about || ' ' || coalesce((
                   select string_agg(question || ' ' || answer, ' ') from chat_turns
                   where chat_id = chats.id and replaced_at is null), '')"""
        )
        there, order, values = keyset("changed_at", cursor, 5)
        rows = await self._db.fetch(
            f"""select {_CHAT} from chats where owner_id = $1 and deleted_at {where}
                    and ($3::text[] = '{{}}' or {text} like all ($3)) and {there}
                order by {order} limit $2 offset $4""",  # noqa: S608
            owner_id,
            limit,
            patterns(words),
            skip,
            *values,
        )
        return [Chat(**dict(row)) for row in rows]

    async def stop(self, owner_id: int, chat_id: UUID) -> bool:
        """End the answer in progress and keep what has arrived. Its job is cancelled: the worker can write no more.

        The job's row is locked before the turn's, as the worker does; in the other order the two would deadlock.
        """
        async with self._db.transaction() as tx:
            active = await tx.fetchrow(
                """select id, job from chat_turns where chat_id = $1 and status in ('queued', 'running')
                   and exists (select from chats where id = $1 and owner_id = $2)""",
                chat_id,
                owner_id,
            )
            if active is None:
                return False
            if active["job"] is not None:
                await self._jobs.cancel(active["job"], connection=tx)
            stopped = await tx.fetchval(
                """update chat_turns set status = 'stopped', finished_at = now()
                   where id = $1 and status in ('queued', 'running') returning true""",
                active["id"],
            )
            if stopped:
                await append(tx, active["id"], "turn.finished", {"status": "stopped"})
        return bool(stopped)

    async def go_on(self, owner_id: int, chat_id: UUID) -> bool:
        """Have the last answer completed behind what has arrived of it."""
        async with self._db.transaction() as tx:
            turn_id: UUID | None = await tx.fetchval(
                """update chat_turns set status = 'queued', reason = '', finished_at = null,
                       started_at = now() - (finished_at - started_at)
                   where chat_id = $1 and replaced_at is null and status in ('incomplete', 'stopped') and answer <> ''
                     and position = (select max(position) from chat_turns
                                     where chat_id = $1 and replaced_at is null)
                     and exists (select from chats where id = $1 and owner_id = $2 and deleted_at is null)
                   returning id""",
                chat_id,
                owner_id,
            )
            if turn_id is None:
                return False
            await append(tx, turn_id, "turn.queued", {})
            await self._enqueue(tx, chat_id, turn_id)
        return True

    async def delete(self, owner_id: int, chat_id: UUID) -> bool:
        """To the bin, from which it can be taken for 90 days. An answer in progress is stopped first."""
        await self.stop(owner_id, chat_id)
        return await self._bin.remove(owner_id, chat_id)

    async def restore(self, owner_id: int, chat_id: UUID) -> bool:
        """Back from the bin."""
        return await self._bin.restore(owner_id, chat_id)

    async def _add(
        self, tx: Connection, chat_id: UUID, position: int, question: str, form_key: UUID | None
    ) -> None:
        turn_id: UUID = await tx.fetchval(
            "insert into chat_turns (chat_id, position, question, form_key) values ($1, $2, $3, $4) returning id",
            chat_id,
            position,
            question,
            form_key,
        )
        await append(tx, turn_id, "turn.queued", {})
        await self._enqueue(tx, chat_id, turn_id)

    async def _enqueue(self, tx: Connection, chat_id: UUID, turn_id: UUID) -> None:
        job = await self._answer.enqueue(tx, turn_id)
        await tx.execute("update chat_turns set job = $2 where id = $1", turn_id, job.id)
        await tx.execute("update chats set changed_at = now() where id = $1", chat_id)

    @staticmethod
    async def _asked(db: postgres.Pool | Connection, chat_id: UUID, form_key: UUID) -> bool:
        return bool(
            await db.fetchval(
                "select true from chat_turns where chat_id = $1 and form_key = $2", chat_id, form_key
            )
        )

    @staticmethod
    async def _sent(db: postgres.Pool | Connection, owner_id: int, form_key: UUID | None) -> UUID | None:
        found: UUID | None = await db.fetchval(
            "select id from chats where owner_id = $1 and form_key = $2", owner_id, form_key
        )
        return found
