"""One LISTEN for the whole process, on a connection of the pool, while any stream is open.

A notice only wakes; what is new is always read from the table. So a lost notice costs a moment, never an event.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container
from contextlib import suppress
from typing import Any, Final

from loguru import logger

from prodkit import Deadline, postgres
from prodkit.progress import Progress

__all__ = ["CHANNEL", "Listener"]

CHANNEL: Final = "advisory_events"
_RECHECK: Final = 2.0
"""Seconds after which every stream looks by itself, should a notice have been lost."""
_RENEW: Final = 20.0
"""Seconds after which the connection goes back to the pool: below the pool's leak threshold and lifetime."""
_AGAIN: Final = 0.5
_SILENT: Final = 2.0

Notify = Callable[[str | None, Progress | None], None]


class Listener:
    """Waking the streams of this process. Without its connection (a restart of PostgreSQL) they look every 2 s."""

    def __init__(self, db: postgres.Pool) -> None:
        self._db = db
        self._ending: set[asyncio.Task[None]] = set()
        self._lost = asyncio.Event()
        self._found = asyncio.Event()

    async def away(self) -> None:
        """Return once the database has been away for 2 s; a shorter outage needs no word."""
        while True:
            await self._lost.wait()
            with suppress(TimeoutError):
                async with asyncio.timeout(_SILENT):
                    await self._found.wait()
            if self._lost.is_set():
                return

    async def back(self) -> None:
        """Return once the database is there again."""
        await self._found.wait()

    def listen(self, topics: Container[str], notify: Notify) -> Callable[[], None]:
        """Wake followers of `topics` through `notify` until the returned function is called."""
        self._lost.clear()
        self._found.clear()
        with Deadline.detached():
            tasks = (
                asyncio.create_task(self._listening(topics, notify), name="listen"),
                asyncio.create_task(self._looking(notify), name="recheck"),
            )

        def stop() -> None:
            for task in tasks:
                task.cancel()
                self._ending.add(task)  # a reference until it has given its connection back
                task.add_done_callback(self._ending.discard)

        return stop

    async def _looking(self, notify: Notify) -> None:
        while True:
            await asyncio.sleep(_RECHECK)
            notify(None, None)

    async def _listening(self, topics: Container[str], notify: Notify) -> None:
        said = False
        while True:
            try:
                await self._once(topics, notify)
                said = False
            except Exception as error:  # noqa: BLE001 - asyncpg's own too; whatever it was, listen again
                self._found.clear()
                self._lost.set()
                if not said:  # once an outage, not twice a second
                    logger.warning("not listening for events: {}", type(error).__name__)
                    said = True
                await asyncio.sleep(_AGAIN)

    async def _once(self, topics: Container[str], notify: Notify) -> None:
        lost = asyncio.Event()

        def notice(_connection: Any, _pid: int, _channel: str, payload: Any) -> None:
            if str(payload) in topics:
                notify(str(payload), None)

        def ended(*_: object) -> None:
            lost.set()

        async with self._db.acquire() as connection:
            await connection.add_listener(CHANNEL, notice)
            self._lost.clear()
            self._found.set()
            connection.add_termination_listener(ended)
            try:
                notify(None, None)  # what was announced while we did not listen
                with suppress(TimeoutError):
                    async with asyncio.timeout(_RENEW):
                        await lost.wait()
                if lost.is_set():
                    raise ConnectionResetError("the listening connection was closed")
            finally:
                with suppress(Exception):
                    connection.remove_termination_listener(ended)
                    await connection.remove_listener(CHANNEL, notice)
