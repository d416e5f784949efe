"""Reads on a replica that is not too far behind, else on the primary."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, Protocol

from prodkit.core.runtime import Runtime
from prodkit.errors import DatabaseError, DeadlineExceededError, PoolExhaustedError
from prodkit.postgres.checkout import Checkout
from prodkit.postgres.events import ReplicaSkipped

if TYPE_CHECKING:
    from asyncpg import Record

__all__ = ["Reader", "Replicas", "Source"]

_EVERY: Final = 1.0
_LAG: Final = """\
select case when not pg_is_in_recovery() then 0
            when pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn()
                 and exists (select 1 from pg_stat_wal_receiver where status = 'streaming') then 0
            else coalesce(extract(epoch from now() - pg_last_xact_replay_timestamp()), 1e9) end::float8"""


class Source(Protocol):
    """The part of a Pool that reads need."""

    _runtime: Runtime

    @property
    def name(self) -> str: ...
    async def start(self) -> None: ...
    async def aclose(self) -> None: ...
    def acquire(self, *, timeout: float | None = None) -> Checkout: ...
    async def fetch(self, query: str, *args: object, timeout: float | None = None) -> list[Record]: ...
    async def fetchrow(self, query: str, *args: object, timeout: float | None = None) -> Record | None: ...
    async def fetchval(
        self, query: str, *args: object, column: int = 0, timeout: float | None = None
    ) -> Any: ...


class Replicas:
    """A pool on the replicas, with a measured lag.

    Args:
        primary: the pool to fall back to.
        pool: a pool whose connections prefer a standby.
        max_lag: seconds that a replica may be behind.
    """

    def __init__(self, primary: Source, pool: Source, *, max_lag: float) -> None:
        self._primary = primary
        self._pool = pool
        self._max_lag = max_lag
        self._reason = "down"
        self._checked = float("-inf")
        self._watch: asyncio.Task[None] | None = None
        self.lag: float | None = None
        """Seconds behind at the last look; None when the replica did not answer."""

    async def start(self) -> None:
        """Begin to watch; a replica that is down delays nothing."""
        self._watch = asyncio.get_running_loop().create_task(self._run())

    async def aclose(self) -> None:
        """End the watch and close the pool."""
        task, self._watch = self._watch, None
        if task is not None:
            task.cancel()
            await asyncio.wait((task,))
        await self._pool.aclose()

    async def _run(self) -> None:
        started = False
        while True:
            try:
                if not started:
                    await self._pool.start()
                    started = True
                self.lag = await self._pool.fetchval(_LAG, timeout=_EVERY)
                reason = "" if self.lag is not None and self.lag <= self._max_lag else "behind"
            except Exception:  # noqa: BLE001 - whatever it is, reads go to the primary
                self.lag, reason = None, "down"
            self._switch(reason)
            await self._primary._runtime.clock.sleep(_EVERY)

    def _switch(self, reason: str) -> None:
        changed, self._reason = reason and reason != self._reason, reason
        events = self._primary._runtime.events
        if changed and events.listened(ReplicaSkipped):
            events.emit(ReplicaSkipped(pool=self._primary.name, reason=reason))

    def current(self) -> Source:
        """Return the pool that reads use now."""
        return self._primary if self._reason else self._pool

    def failed(self) -> None:
        """Send reads to the primary until the next look."""
        self._switch("down")


class Reader:
    """The reading half of a pool: ``db.read.fetch(…)``.

    Args:
        primary: the pool itself.
        replicas: its replicas, or None.
    """

    __slots__ = ("_primary", "_replicas")

    def __init__(self, primary: Source, replicas: Replicas | None) -> None:
        self._primary = primary
        self._replicas = replicas

    @property
    def lag(self) -> float | None:
        """Seconds that the replica was behind at the last look; None without one."""
        return None if self._replicas is None else self._replicas.lag

    def acquire(self, *, timeout: float | None = None) -> Checkout:
        """Borrow a connection for reads: ``async with db.read.acquire() as connection``.

        Args:
            timeout: seconds to wait, in place of `acquire_timeout`.
        """
        return self._source().acquire(timeout=timeout)

    async def fetch(self, query: str, *args: object, timeout: float | None = None) -> list[Record]:
        """Return all rows of one query.

        Args:
            query: one query.
            args: its arguments.
            timeout: seconds, in place of `command_timeout`.
        """
        rows: list[Record] = await self._read("fetch", query, args, timeout)
        return rows

    async def fetchrow(self, query: str, *args: object, timeout: float | None = None) -> Record | None:
        """Return the first row, or None.

        Args:
            query: one query.
            args: its arguments.
            timeout: seconds, in place of `command_timeout`.
        """
        row: Record | None = await self._read("fetchrow", query, args, timeout)
        return row

    async def fetchval(self, query: str, *args: object, timeout: float | None = None) -> Any:
        """Return the first column of the first row, or None.

        Args:
            query: one query.
            args: its arguments.
            timeout: seconds, in place of `command_timeout`.
        """
        return await self._read("fetchval", query, args, timeout)

    def _source(self) -> Source:
        return self._primary if self._replicas is None else self._replicas.current()

    async def _read(self, method: str, query: str, args: tuple[Any, ...], timeout: float | None) -> Any:
        source = self._source()
        try:
            return await getattr(source, method)(query, *args, timeout=timeout)
        except DeadlineExceededError:
            raise
        except (DatabaseError, PoolExhaustedError, RuntimeError):
            if source is self._primary or self._replicas is None:
                raise
            self._replicas.failed()  # a query changes nothing: asking the primary is safe
            return await getattr(self._primary, method)(query, *args, timeout=timeout)
