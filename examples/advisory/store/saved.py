"""The council that answered the same question to the same experts within the last hour.

The cache holds the id of a run and nothing else: the run itself is read from the table, so one that was deleted,
resumed or stopped in between is no answer. A key belongs to one account.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from advisory.store.experts import Expert
from prodkit import postgres
from prodkit.cache import Cache, make_cache_key

__all__ = ["COUNCIL_TTL", "Saved", "saved_key"]

COUNCIL_TTL = 3600.0
"""Seconds for which the answer to the same question is shown again."""


def saved_key(
    owner_id: int,
    question: str,
    experts: Sequence[Expert],
    *,
    reviewed: bool = False,
    persona: object = None,
) -> str:
    """The key of a question. An expert who was edited since is another one; spaces make no other question.

    Args:
        owner_id: the account.
        question: as it was typed.
        experts: in any order.
        reviewed: with a cross-review.
        persona: what identifies the persona and its version; None without one.
    """
    parties: list[Any] = sorted((each.id, each.name, each.role, each.goals, each.style) for each in experts)
    return make_cache_key("saved", owner_id, " ".join(question.split()), parties, reviewed, persona)


class Saved:
    """Finds such a council, and remembers new ones."""

    def __init__(self, db: postgres.Pool, cache: Cache) -> None:
        self._db = db
        self._cache = cache

    async def find(self, owner_id: int, key: str) -> UUID | None:
        """The council that answers `key`: whole, or still on its way, and not deleted."""
        found = await self._cache.get(key, None)
        if not isinstance(found, str):
            return None
        run_id: UUID | None = await self._db.fetchval(
            """select id from runs where id = $1 and owner_id = $2 and deleted_at is null
               and status in ('queued', 'running', 'done') and created_at > now() - make_interval(secs => $3)""",
            UUID(found),
            owner_id,
            COUNCIL_TTL,
        )
        return run_id

    async def remember(self, key: str, run_id: UUID) -> None:
        """Show this council for the same question, for an hour from now."""
        await self._cache.set(key, str(run_id), ttl=COUNCIL_TTL)
