"""PgQueuer on a transaction of ours: the job appears exactly when the run does."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any, Protocol, Self
from uuid import UUID

from pgqueuer.core.tm import TaskManager
from pgqueuer.models import JobId
from pgqueuer.ports.driver import Driver, NotifyCallback
from pgqueuer.queries import Queries

from prodkit import postgres

__all__ = ["ENTRYPOINT", "cancel_job", "enqueue", "requeue_lost"]

ENTRYPOINT = "council"
_JSONB = re.compile(r"\$(\d+)::jsonb\b")


class Statements(Protocol):
    """What is needed of a connection."""

    async def execute(self, query: str, *args: Any) -> str: ...
    async def fetch(self, query: str, *args: Any) -> Any: ...


class _OneConnection(Driver):
    """PgQueuer's driver over a connection that somebody else owns: it enqueues, and never listens."""

    def __init__(self, connection: Statements) -> None:
        self._connection = connection
        self._turn = asyncio.Lock()  # PgQueuer gathers statements; a connection runs one at a time
        self._shutdown = asyncio.Event()

    async def fetch(self, query: str, *args: object) -> list[dict[str, object]]:
        async with self._turn:
            return [dict(row) for row in await self._connection.fetch(query, *_decoded(query, args))]

    async def execute(self, query: str, *args: object) -> str:
        async with self._turn:
            return await self._connection.execute(query, *_decoded(query, args))

    async def notify(self, channel: str, payload: str) -> None:
        await self.execute("select pg_notify($1, $2)", channel, payload)

    async def add_listener(self, channel: str, callback: NotifyCallback) -> None:
        raise NotImplementedError("a connection in a transaction hears nothing")

    async def remove_listener(self, channel: str, callback: NotifyCallback) -> None:
        raise NotImplementedError("a connection in a transaction hears nothing")

    @property
    def shutdown(self) -> asyncio.Event:
        return self._shutdown

    @property
    def tm(self) -> TaskManager:
        return TaskManager()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None: ...


def _decoded(query: str, args: tuple[object, ...]) -> list[object]:
    """PgQueuer writes jsonb as texts, the kit's pool as Python values: decode what goes to a jsonb parameter."""
    decoded = list(args)
    for number in _JSONB.findall(query):
        value = decoded[int(number) - 1]
        if isinstance(value, list):
            decoded[int(number) - 1] = [json.loads(each) for each in value]
        elif isinstance(value, str):
            decoded[int(number) - 1] = json.loads(value)
    return decoded


async def enqueue(tx: Statements, run_id: UUID) -> None:
    """Queues the run's job and notes its id with the run."""
    ids = await Queries(_OneConnection(tx)).enqueue(ENTRYPOINT, run_id.bytes, dedupe_key=f"council:{run_id}")
    await tx.execute("update runs set job_id = $2 where id = $1", run_id, ids[0])


async def cancel_job(tx: Statements, job_id: int) -> None:
    """Takes the job out of the queue and tells the worker that holds it, at commit."""
    await Queries(_OneConnection(tx)).mark_job_as_cancelled([JobId(job_id)])


async def requeue_lost(db: postgres.Pool, *, older_than: float) -> list[UUID]:
    """Queues every unfinished run that no job stands for, and returns their ids."""
    async with db.transaction() as tx:
        rows = await tx.fetch(
            """select id from runs
               where status in ('queued', 'running') and created_at < now() - make_interval(secs => $1::float8)
                 and not exists (select 1 from pgqueuer where pgqueuer.id = runs.job_id)
               for update skip locked""",
            older_than,
        )
        lost = [row["id"] for row in rows]
        for run_id in lost:
            await enqueue(tx, run_id)
    return lost
