"""A research's events: numbered without gaps under its row lock, and read by `progress.Channel`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol
from uuid import UUID

from prodkit import postgres
from prodkit.progress import Page, Progress

__all__ = ["ResearchEvents", "append", "topic_of"]


class Statements(Protocol):
    """A connection inside a transaction."""

    async def execute(self, query: str, *args: Any) -> str: ...
    async def fetchval(self, query: str, *args: Any) -> Any: ...


def topic_of(research_id: UUID) -> str:
    """The topic under which a channel follows a research."""
    return f"research:{research_id}"


async def append(tx: Statements, research_id: UUID, kind: str, data: Mapping[str, Any]) -> int:
    """Add one event, in the transaction that makes it true, and return its number."""
    seq: int = await tx.fetchval(
        "update researches set last_seq = last_seq + 1 where id = $1 returning last_seq", research_id
    )
    await tx.execute(
        "insert into research_events (research_id, seq, kind, data) values ($1, $2, $3, $4::jsonb)",
        research_id,
        seq,
        kind,
        dict(data),
    )
    await tx.execute("select pg_notify('advisory_events', $1)", topic_of(research_id))
    return seq


class ResearchEvents:
    """The source of a channel."""

    def __init__(self, db: postgres.Pool) -> None:
        self._db = db

    async def read(self, topic: str, after: int, limit: int) -> Page:
        """At most `limit` events of a research after number `after`, in order."""
        research_id = UUID(topic.partition(":")[2])
        rows = await self._db.fetch(
            """select seq, kind, data from research_events where research_id = $1 and seq > $2
               order by seq limit $3""",
            research_id,
            after,
            limit,
        )
        newest = await self._db.fetchval("select last_seq from researches where id = $1", research_id)
        return Page(tuple(Progress(row["seq"], row["kind"], row["data"]) for row in rows), newest or 0)
