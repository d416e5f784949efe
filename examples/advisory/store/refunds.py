"""Uses of a limit that an outage took: each pays for one later question, within the hour of its limit."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias
from uuid import UUID

from prodkit import postgres

__all__ = ["Refunds"]

Asked: TypeAlias = Literal["runs", "chat_turns"]
_OWNER: Final[dict[Asked, str]] = {
    "runs": "owner_id",
    "chat_turns": "(select owner_id from chats where id = chat_id)",
}


class Refunds:
    """The questions of one table that the service failed, not their asker.

    A use stays counted where it was, and pays for the new question: the limiter's window need not be changed.

    Args:
        db: the pool.
        table: councils or turns of conversations.
    """

    def __init__(self, db: postgres.Pool, table: Asked) -> None:
        self._db = db
        self._table = table

    async def take(self, owner_id: int) -> UUID | None:
        """Use one refund of the last hour, each once; None where there is none."""
        found: UUID | None = await self._db.fetchval(
            f"""update {self._table} set refunded_at = null where id = (
                    select id from {self._table}
                    where {_OWNER[self._table]} = $1 and refunded_at > now() - interval '1 hour'
                    order by refunded_at limit 1 for update skip locked) returning id""",  # noqa: S608 - ours
            owner_id,
        )
        return found

    async def put_back(self, key: UUID) -> None:
        """The question for which it was taken was not asked after all."""
        await self._db.execute(
            f"update {self._table} set refunded_at = now() where id = $1",  # noqa: S608 - ours
            key,
        )
