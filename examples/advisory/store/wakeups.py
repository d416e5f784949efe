"""Tells waiting streams that a run has news: one LISTEN for the whole process.

A notice only wakes; what is new is always read from the table. So a lost notice costs a moment, never an event.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import suppress
from uuid import UUID

import asyncpg
from loguru import logger

from advisory.store.events import CHANNEL
from prodkit.core.lifespan import Managed
from prodkit.core.secrets import Revealable, reveal

__all__ = ["Wakeups"]

_RECONNECT = 0.5
_PROBE = 5.0


class Wakeups(Managed):
    """Waiting for news of runs. Without its connection (a restart of PostgreSQL) waits just run out sooner."""

    __slots__ = ("_dsn", "_task", "_waiting")

    def __init__(self, dsn: str | Revealable) -> None:
        self._dsn = dsn
        self._waiting: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._listen(), name="wakeups")

    async def aclose(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        self.wake_all()

    def wake_all(self) -> None:
        """Every stream looks again, for a reason of its own."""
        for events in self._waiting.values():
            for event in events:
                event.set()

    def subscribe(self, run_id: UUID) -> asyncio.Event:
        """An event that is set at each notice. Subscribe before reading, or a notice in between is missed."""
        event = asyncio.Event()
        self._waiting[str(run_id)].add(event)
        return event

    def unsubscribe(self, run_id: UUID, event: asyncio.Event) -> None:
        events = self._waiting[str(run_id)]
        events.discard(event)
        if not events:
            del self._waiting[str(run_id)]

    async def _listen(self) -> None:
        told = False
        while True:
            try:
                connection = await asyncpg.connect(
                    reveal(self._dsn), timeout=3.0, server_settings={"application_name": "advisory-wakeups"}
                )
                try:
                    await connection.add_listener(CHANNEL, self._notice)
                    self.wake_all()  # what was announced while we were away
                    told = False
                    while True:
                        await asyncio.sleep(_PROBE)
                        await connection.fetchval("select 1", timeout=3.0)
                finally:
                    connection.terminate()
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                if not told:  # once an outage, not twice a second
                    logger.warning("not listening for wakeups: {}", type(error).__name__)
                    told = True
                await asyncio.sleep(_RECONNECT)

    def _notice(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        for event in self._waiting.get(str(payload), ()):
            event.set()
