"""Personas: the people a question is about, described by the account's owner."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from advisory.store.deleted import PERSONAS, Bin
from advisory.store.experts import add_avatar
from prodkit import files, postgres

__all__ = ["Persona", "Personas"]


@dataclass(frozen=True, slots=True)
class Persona:
    """One persona. `version` rises with every change of what a prompt shows."""

    id: int
    owner_id: int
    name: str
    role: str
    goals: str
    style: str
    profile: str
    avatar_id: UUID | None
    version: int


_COLUMNS = "id, owner_id, name, role, goals, style, profile, avatar_id, version"


class Personas:
    """Every statement names the owner."""

    def __init__(self, db: postgres.Pool) -> None:
        self._db = db

    async def of(self, owner_id: int) -> list[Persona]:
        """Newest first."""
        rows = await self._db.fetch(
            f"select {_COLUMNS} from personas where owner_id = $1 and deleted_at is null order by id desc",  # noqa: S608
            owner_id,
        )
        return [Persona(*row.values()) for row in rows]

    async def get(self, owner_id: int, persona_id: int) -> Persona | None:
        """One of the owner's personas; None for another's, and for one that was deleted."""
        row = await self._db.fetchrow(
            f"select {_COLUMNS} from personas where owner_id = $1 and id = $2 and deleted_at is null",  # noqa: S608
            owner_id,
            persona_id,
        )
        return Persona(*row.values()) if row else None

    async def chosen(self, owner_id: int, text: str) -> Persona | None:
        """The persona that a form names; None for no choice, or for one that is not the owner's."""
        if not (text.isascii() and text.isdigit() and len(text) < 19):
            return None
        return await self.get(owner_id, int(text))

    async def add(
        self,
        *,
        owner_id: int,
        name: str,
        role: str,
        goals: str,
        style: str,
        avatar: files.CleanFile | None = None,
    ) -> int:
        """The new persona's id."""
        async with self._db.transaction() as tx:
            avatar_id = None if avatar is None else await add_avatar(tx, owner_id, avatar)
            added: int = await tx.fetchval(
                """insert into personas (owner_id, name, role, goals, style, avatar_id)
                   values ($1, $2, $3, $4, $5, $6) returning id""",
                owner_id,
                name,
                role,
                goals,
                style,
                avatar_id,
            )
        return added

    async def edit(
        self,
        owner_id: int,
        persona_id: int,
        *,
        name: str,
        role: str,
        goals: str,
        style: str,
        profile: str,
        avatar: files.CleanFile | None = None,
    ) -> bool:
        """Change it; without a new photo the old one stays. Past councils keep their copy."""
        async with self._db.transaction() as tx:
            avatar_id = None if avatar is None else await add_avatar(tx, owner_id, avatar)
            done = await tx.execute(
                """update personas set name = $3, role = $4, goals = $5, style = $6, profile = $7,
                   avatar_id = coalesce($8, avatar_id), version = version + 1
                   where owner_id = $1 and id = $2 and deleted_at is null""",
                owner_id,
                persona_id,
                name,
                role,
                goals,
                style,
                profile,
                avatar_id,
            )
        return done == "UPDATE 1"

    async def remove(self, owner_id: int, persona_id: int) -> bool:
        """To the bin, where it is kept for 90 days; councils that asked about it stay."""
        return await Bin(self._db, PERSONAS).remove(owner_id, persona_id)

    async def restore(self, owner_id: int, persona_id: int) -> bool:
        """Take it out of the bin."""
        return await Bin(self._db, PERSONAS).restore(owner_id, persona_id)
