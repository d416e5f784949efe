"""Tell apart four states of a pool: up, saturated, read-only and down."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Literal, TypeAlias

from prodkit.core.check import CheckResult
from prodkit.errors import ProdkitError
from prodkit.postgres.stats import PoolStats

if TYPE_CHECKING:
    from prodkit.postgres.asyncpg_internals import GuardedConnection
    from prodkit.postgres.connect import Connector

__all__ = ["Answer", "Probe", "verdict"]

Answer: TypeAlias = Literal["up", "read_only", "down"]
_LIMIT = 1.0


def verdict(answer: Answer, stats: PoolStats) -> CheckResult:
    """Combine the server's `answer` and the pool's `stats`."""
    details: dict[str, object] = {**asdict(stats)}
    if answer == "down":
        return CheckResult("down", "the database does not answer", {**details, "verdict": "down"})
    if answer == "read_only":
        return CheckResult("degraded", "the database takes no writes", {**details, "verdict": "read_only"})
    if stats.waiting and stats.used + stats.resetting >= stats.max_size:
        reason = f"all {stats.max_size} connections are in use and {stats.waiting} callers wait"
        return CheckResult("degraded", reason, {**details, "verdict": "saturated"})
    return CheckResult("up", "", {**details, "verdict": "up"})


class Probe:
    """One connection kept aside for health checks: it neither takes a slot of the pool nor waits for one."""

    def __init__(self, connector: Connector) -> None:
        self._connector = connector
        self._connection: GuardedConnection | None = None
        self._turn = asyncio.Lock()

    async def ask(self) -> Answer:
        """Return the server's answer within a second; a connection lost since the last time is replaced once."""
        try:
            async with asyncio.timeout(_LIMIT), self._turn:
                for _ in range(2):
                    fresh = self._connection is None
                    try:
                        if self._connection is None:
                            self._connection = await self._connector.open()
                        row = await self._connection.fetchval("show transaction_read_only", timeout=_LIMIT)
                    except (ProdkitError, OSError):
                        self._drop()
                        if fresh:
                            return "down"
                    except BaseException:
                        self._drop()
                        raise
                    else:
                        return "read_only" if row == "on" else "up"
                return "down"
        except TimeoutError:
            return "down"

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    async def aclose(self) -> None:
        """Close the connection; the next :meth:`ask` opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):
                await connection.close(timeout=1.0)
