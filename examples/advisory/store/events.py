"""A run's events: numbered without gaps under the run's row lock, kept for replay, announced at commit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

from prodkit import postgres

__all__ = ["CHANNEL", "Events", "RunEvent", "append"]

CHANNEL = "advisory_events"


class Statements(Protocol):
    """A connection inside a transaction."""

    async def execute(self, query: str, *args: Any) -> str: ...
    async def fetchval(self, query: str, *args: Any) -> Any: ...


@dataclass(frozen=True, slots=True)
class RunEvent:
    """One thing that happened to a run. `seq` counts 1, 2, 3… within it."""

    seq: int
    kind: str
    data: Mapping[str, Any]


async def append(tx: Statements, run_id: UUID, kind: str, data: Mapping[str, Any]) -> int:
    """Adds one event, in the transaction that makes it true, and returns its number."""
    seq: int = await tx.fetchval(
        "update runs set last_seq = last_seq + 1 where id = $1 returning last_seq", run_id
    )
    await tx.execute(
        "insert into run_events (run_id, seq, kind, data) values ($1, $2, $3, $4::jsonb)",
        run_id,
        seq,
        kind,
        dict(data),
    )
    await tx.execute("select pg_notify($1, $2)", CHANNEL, str(run_id))
    return seq


class Events:
    """Reads them back."""

    def __init__(self, db: postgres.Pool) -> None:
        self._db = db

    async def after(self, run_id: UUID, seq: int) -> list[RunEvent]:
        """Every event with a higher number, in order."""
        rows = await self._db.fetch(
            "select seq, kind, data from run_events where run_id = $1 and seq > $2 order by seq",
            run_id,
            seq,
        )
        return [RunEvent(row["seq"], row["kind"], row["data"]) for row in rows]
