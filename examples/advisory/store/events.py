"""Events as rows: numbered without gaps under their owner's row lock, kept for replay, announced at commit.

A topic is ``kind:id``, such as ``run:7f0c…``. Each kind has a reader; the live streams of all kinds follow one
`progress.Channel`, and one LISTEN wakes them::

    append(tx, run_id, …) ── commit ──► notify "run:<id>" ──► Listener ──► Channel ──► the streams of that topic
                                                                            └─ read ──► RunEvents
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container, Mapping
from contextlib import suppress
from typing import Any, Final, Protocol
from uuid import UUID

from advisory.store.listener import CHANNEL, Listener
from prodkit import postgres
from prodkit.errors import DatabaseError, PoolExhaustedError
from prodkit.progress import Page, Progress, Source

__all__ = ["RunEvents", "Topics", "announce", "append", "run_topic"]

_WAIT: Final = 60.0
"""Seconds for which a stream waits for a database that is away; then the browser comes back by itself."""
_AGAIN: Final = 0.5


class Statements(Protocol):
    """A connection inside a transaction."""

    async def execute(self, query: str, *args: Any) -> str: ...
    async def fetchval(self, query: str, *args: Any) -> Any: ...


def run_topic(run_id: UUID) -> str:
    """The topic of a council's events."""
    return f"run:{run_id}"


async def announce(tx: Statements, topic: str) -> None:
    """Wake the streams of `topic` in every process when `tx` commits."""
    await tx.execute("select pg_notify($1, $2)", CHANNEL, topic)


async def append(tx: Statements, run_id: UUID, kind: str, data: Mapping[str, Any]) -> int:
    """Add one event, in the transaction that makes it true, and return its number."""
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
    await announce(tx, run_topic(run_id))
    return seq


class RunEvents:
    """The events of councils."""

    def __init__(self, db: postgres.Pool) -> None:
        self._db = db

    async def read(self, topic: str, after: int, limit: int) -> Page:
        """At most `limit` events with a number above `after`, in order, and the newest number."""
        rows = await self._db.fetch(
            """select runs.last_seq, seq, kind, data from runs
               left join lateral (select seq, kind, data from run_events where run_id = runs.id and seq > $2
                                  order by seq limit $3) as found on true
               where runs.id = $1""",
            UUID(topic.partition(":")[2]),
            after,
            limit,
        )
        events = tuple(
            Progress(row["seq"], row["kind"], row["data"]) for row in rows if row["seq"] is not None
        )
        return Page(events, rows[0]["last_seq"] if rows else 0)


class Topics:
    """The source of the channel: finds the reader of a topic's kind, and reports what other processes wrote.

    A reader that meets an outage of the database is asked again, so that an open stream outlives a restart.
    """

    def __init__(self, listener: Listener, readers: Mapping[str, Source]) -> None:
        self._listener = listener
        self._readers = dict(readers)

    async def read(self, topic: str, after: int, limit: int) -> Page:
        reader = self._readers[topic.partition(":")[0]]
        with suppress(TimeoutError):
            async with asyncio.timeout(_WAIT):
                while True:
                    try:
                        return await reader.read(topic, after, limit)
                    except (DatabaseError, PoolExhaustedError):
                        await asyncio.sleep(_AGAIN)
        return await reader.read(topic, after, limit)

    def listen(
        self, topics: Container[str], notify: Callable[[str | None, Progress | None], None]
    ) -> Callable[[], None]:
        """Part of `progress.Pushing`: wake followers from now until the returned function is called."""
        return self._listener.listen(topics, notify)
