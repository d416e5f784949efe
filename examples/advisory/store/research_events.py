"""A research's events: numbered without gaps under its row lock, and read by `progress.Channel`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from advisory.store.events import Statements, announce
from prodkit import postgres
from prodkit.progress import Page, Progress

__all__ = ["ResearchEvents", "append", "topic_of"]


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
    await announce(tx, topic_of(research_id))
    return seq


class ResearchEvents:
    """The source of a channel."""

    def __init__(self, db: postgres.Pool) -> None:
        self._db = db

    async def read(self, topic: str, after: int, limit: int) -> Page:
        """At most `limit` events of a research after number `after`, in order."""
        rows = await self._db.fetch(
            """select researches.last_seq, found.seq, found.kind, found.data from researches
               left join lateral (select seq, kind, data from research_events
                                  where research_id = researches.id and seq > $2 order by seq limit $3) as found
               on true where researches.id = $1""",
            UUID(topic.partition(":")[2]),
            after,
            limit,
        )
        events = tuple(
            Progress(row["seq"], row["kind"], row["data"]) for row in rows if row["seq"] is not None
        )
        return Page(events, rows[0]["last_seq"] if rows else 0)
