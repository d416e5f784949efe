"""LISTEN on a connection of the pool, renewed and reconnected.

Notifications make a worker look sooner; it also polls, so a lost one costs at most a poll. Behind a transaction
pooler LISTEN receives nothing: a probe that does not come back within two seconds shows it, and the worker polls only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID, uuid4

from prodkit.core.runtime import Runtime
from prodkit.errors import InvalidError, ProdkitError
from prodkit.jobs.schema import CHANNEL

if TYPE_CHECKING:
    from prodkit.postgres import Pool

__all__ = ["Listener"]

_PGQUEUER: Final = "ch_pgqueuer"
_RENEW: Final = 20.0
"""Seconds after which the connection goes back to the pool: below the pool's leak threshold and lifetime."""
_PROBE: Final = 2.0
_AGAIN: Final = 0.5
_POOLED: Final = 60.0


class Listener:
    """Receives notifications of new work and of cancellations.

    Args:
        db: the pool whose connection listens.
        on_work: called when a run may be due.
        on_cancel: called with the id of a run that was cancelled.
        runtime: the clock of pauses.
    """

    __slots__ = ("_db", "_on_cancel", "_on_work", "_probes", "_runtime")

    def __init__(
        self, db: Pool, on_work: Callable[[], None], on_cancel: Callable[[UUID], None], *, runtime: Runtime
    ) -> None:
        self._db = db
        self._on_work = on_work
        self._on_cancel = on_cancel
        self._runtime = runtime
        self._probes: dict[str, asyncio.Event] = {}

    async def run(self, on_mode: Callable[[str], None]) -> None:
        """Listen until cancelled.

        Args:
            on_mode: receives ``""`` while notifications arrive, else the reason why they do not.
        """
        while True:
            pause = _AGAIN
            try:
                await self._listen(on_mode)
                continue
            except InvalidError:
                on_mode("a transaction pooler stands between us and PostgreSQL")
                pause = _POOLED
            except ProdkitError as error:
                on_mode(f"the listening connection was lost ({type(error).__name__})")
            except TimeoutError:
                on_mode("no notification arrives: a transaction pooler stands between us and PostgreSQL")
                pause = _POOLED
            except OSError as error:
                on_mode(f"the listening connection was lost ({type(error).__name__})")
            except Exception as error:  # noqa: BLE001 - asyncpg's own, imported nowhere here
                on_mode(f"LISTEN is not possible ({type(error).__name__})")
                pause = _POOLED
            await self._runtime.clock.sleep(pause)

    async def _listen(self, on_mode: Callable[[str], None]) -> None:
        async with self._db.acquire() as connection:
            lost = asyncio.Event()

            def ended(*_: object) -> None:
                lost.set()

            await connection.add_listener(CHANNEL, self._notice)
            await connection.add_listener(_PGQUEUER, self._changed)
            connection.add_termination_listener(ended)
            try:
                await self._probe()
                on_mode("")
                self._on_work()  # whatever was announced before we listened
                with suppress(TimeoutError):
                    async with asyncio.timeout(_RENEW):
                        await lost.wait()
                if lost.is_set():
                    raise ConnectionResetError("the listening connection was closed")
            finally:
                with suppress(Exception):
                    connection.remove_termination_listener(ended)
                    await connection.remove_listener(CHANNEL, self._notice)
                    await connection.remove_listener(_PGQUEUER, self._changed)

    async def _probe(self) -> None:
        """Send a notification through the pool and wait for it here; TimeoutError when it does not come."""
        token = uuid4().hex
        arrived = self._probes[token] = asyncio.Event()
        try:
            # In a task of its own: this one holds a connection, and the pool reports a nested checkout.
            await asyncio.create_task(self._db.execute("select pg_notify($1, $2)", CHANNEL, f"probe {token}"))
            async with asyncio.timeout(_PROBE):
                await arrived.wait()
        finally:
            del self._probes[token]

    def _notice(self, _connection: Any, _pid: int, _channel: str, payload: Any) -> None:
        word, _, rest = str(payload).partition(" ")
        if word == "work":
            self._on_work()
        elif word == "cancel":
            with suppress(ValueError):
                self._on_cancel(UUID(rest))
        elif word == "probe" and rest in self._probes:
            self._probes[rest].set()

    def _changed(self, _connection: Any, _pid: int, _channel: str, payload: Any) -> None:
        # PgQueuer's trigger announces updates too, and each heartbeat is one: only new rows are work.
        if '"insert"' in str(payload):
            self._on_work()
