"""PgQueuer's queries over our pool.

Read from PgQueuer 1.6.0. Besides ``Queries.dequeue`` we rely on the columns of its table ``pgqueuer`` (``id``,
``priority``, ``entrypoint``, ``payload``, ``status``, ``execute_after``, ``heartbeat``, ``queue_manager_id``,
``attempts``, ``dedupe_key``) and on its type ``pgqueuer_status``; ``tests/integration/jobs/test_pgqueuer.py`` holds
them to that. Its worker loop is not used: its listener check can end a healthy worker, and its heartbeat renews a
row that another worker has taken.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Self

from prodkit.jobs.schema import _missing, refuse_prefix

if TYPE_CHECKING:
    from prodkit.postgres import Pool

__all__ = ["queries"]


class _PoolDriver:
    """PgQueuer's driver over a pool of ours; it never listens."""

    def __init__(self, db: Pool) -> None:
        self._db = db
        self._shutdown = asyncio.Event()

    async def fetch(self, query: str, *args: object) -> list[dict[str, object]]:
        return [dict(row) for row in await self._db.fetch(query, *args)]

    async def execute(self, query: str, *args: object) -> str:
        return await self._db.execute(query, *args)

    async def notify(self, channel: str, payload: str) -> None:
        await self._db.execute("select pg_notify($1, $2)", channel, payload)

    async def add_listener(self, channel: str, callback: Any) -> None:
        raise NotImplementedError("prodkit.jobs listens by itself")

    @property
    def shutdown(self) -> asyncio.Event:
        return self._shutdown

    @property
    def tm(self) -> Any:
        from pgqueuer.core.tm import TaskManager

        return TaskManager()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None: ...


def queries(db: Pool) -> tuple[Any, Any]:
    """Return PgQueuer's ``Queries`` over `db`, and the class of its entrypoint parameters.

    Args:
        db: the pool.
    """
    refuse_prefix()
    try:
        from pgqueuer.ports.repository import EntrypointExecutionParameter
        from pgqueuer.queries import Queries
    except ModuleNotFoundError as error:
        raise _missing(error) from None
    return Queries(_PoolDriver(db)), EntrypointExecutionParameter
