"""Experts and their avatars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from uuid import UUID

from advisory.store.deleted import EXPERTS, Bin
from prodkit import files, postgres

if TYPE_CHECKING:
    from prodkit.postgres.checkout import Connection

__all__ = ["SIMULATED", "Avatar", "Expert", "Experts", "add_avatar"]


SIMULATED: Final = "simulação baseada em fontes públicas"


@dataclass(frozen=True, slots=True)
class Expert:
    """An expert of the council. One without an owner is seeded: visible to every account, read-only."""

    id: int
    owner_id: int | None
    name: str
    role: str
    goals: str
    style: str
    avatar_id: UUID | None
    simulated: bool = False
    """Made from public sources about a real person."""

    @property
    def title(self) -> str:
        """The role, with the label that a simulation carries wherever it speaks."""
        return f"{self.role} ({SIMULATED})" if self.simulated else self.role


@dataclass(frozen=True, slots=True)
class Avatar:
    """A picture as it is served: re-encoded by us, never the bytes that came."""

    content: bytes
    media_type: str
    sha256: str


_COLUMNS = "id, owner_id, name, role, goals, style, avatar_id, simulated"
_VISIBLE = "deleted_at is null and (owner_id is null or owner_id = $1)"


class Experts:
    """Every statement filters by what the user may see."""

    def __init__(self, db: postgres.Pool) -> None:
        self._db = db

    async def visible_to(self, user_id: int) -> list[Expert]:
        """The user's own first, then the seeded ones."""
        rows = await self._db.fetch(
            f"select {_COLUMNS} from experts where {_VISIBLE} order by owner_id is null, id",  # noqa: S608
            user_id,
        )
        return [Expert(*row.values()) for row in rows]

    async def some(self, user_id: int, ids: Sequence[int]) -> list[Expert]:
        """Those of `ids` that the user may ask."""
        rows = await self._db.fetch(
            f"select {_COLUMNS} from experts where {_VISIBLE} and id = any($2::bigint[])"  # noqa: S608
            " order by owner_id is null, id",
            user_id,
            list(ids),
        )
        return [Expert(*row.values()) for row in rows]

    async def add(
        self,
        *,
        owner_id: int | None,
        name: str,
        role: str,
        goals: str,
        style: str,
        avatar: files.CleanFile | None = None,
        slug: str | None = None,
    ) -> int | None:
        """The new expert's id; None when one with this `slug` is there already."""
        async with self._db.transaction() as tx:
            avatar_id = None
            if avatar is not None:
                avatar_id = await add_avatar(tx, owner_id, avatar)
            expert_id: int | None = await tx.fetchval(
                """insert into experts (owner_id, name, role, goals, style, avatar_id, slug)
                   values ($1, $2, $3, $4, $5, $6, $7) on conflict (slug) do nothing returning id""",
                owner_id,
                name,
                role,
                goals,
                style,
                avatar_id,
                slug,
            )
        return expert_id

    async def own(self, user_id: int, expert_id: int) -> Expert | None:
        """One of the user's own experts, for editing."""
        row = await self._db.fetchrow(
            f"select {_COLUMNS} from experts where owner_id = $1 and id = $2 and deleted_at is null",  # noqa: S608
            user_id,
            expert_id,
        )
        return Expert(*row.values()) if row else None

    async def edit(
        self,
        user_id: int,
        expert_id: int,
        *,
        name: str,
        role: str,
        goals: str,
        style: str,
        avatar: files.CleanFile | None = None,
    ) -> bool:
        """Change one of the user's own; without a new avatar the old one stays. Past councils keep their copy."""
        async with self._db.transaction() as tx:
            avatar_id = None if avatar is None else await add_avatar(tx, user_id, avatar)
            done = await tx.execute(
                """update experts set name = $3, role = $4, goals = $5, style = $6,
                   avatar_id = coalesce($7, avatar_id)
                   where owner_id = $1 and id = $2 and deleted_at is null""",
                user_id,
                expert_id,
                name,
                role,
                goals,
                style,
                avatar_id,
            )
        return done == "UPDATE 1"

    async def remove(self, user_id: int, expert_id: int) -> bool:
        """Softly, and only one's own: past councils keep what the expert said."""
        return await Bin(self._db, EXPERTS).remove(user_id, expert_id)

    async def restore(self, user_id: int, expert_id: int) -> bool:
        """Take one's own expert out of the bin."""
        return await Bin(self._db, EXPERTS).restore(user_id, expert_id)

    async def avatar(self, user_id: int, avatar_id: UUID) -> Avatar | None:
        """A picture of one's own, or of a seeded expert."""
        row = await self._db.fetchrow(
            """select content, media_type, sha256 from avatars
               where id = $2 and (owner_id is null or owner_id = $1)""",
            user_id,
            avatar_id,
        )
        return Avatar(row["content"], row["media_type"], row["sha256"]) if row else None


async def add_avatar(tx: Connection, owner_id: int | None, avatar: files.CleanFile) -> UUID:
    """Store a picture and return its id; one that nothing refers to is purged after a day."""
    added: UUID = await tx.fetchval(
        """insert into avatars (owner_id, content, media_type, sha256, width, height)
           values ($1, $2, $3, $4, $5, $6) returning id""",
        owner_id,
        avatar.content,
        avatar.media_type,
        avatar.sha256,
        avatar.width,
        avatar.height,
    )
    return added
