"""Locks that live in the database: one replica migrates, the others wait.

``pg_advisory_lock`` would wait inside a statement, which deadlocks against ``CREATE INDEX CONCURRENTLY`` of the
replica that holds the lock. So this asks with ``pg_try_advisory_lock`` and sleeps in between.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Protocol

from prodkit.core.deadline import Deadline
from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.errors import CallTimeoutError, DeadlineExceededError

__all__ = ["Asks", "advisory_lock", "lock_key"]


class Asks(Protocol):
    """What a lock needs of a connection: asyncpg's has it, and so has one that a Pool lends."""

    async def fetchval(self, query: str, *args: Any) -> Any:
        """One value of the first row."""
        ...


def lock_key(name: str) -> int:
    """The 64-bit number under which PostgreSQL keeps the lock `name`: the same in every process and release."""
    digest = hashlib.blake2b(name.encode(), digest_size=8, person=b"prodkit-lock").digest()
    return int.from_bytes(digest, "big", signed=True)


@asynccontextmanager
async def advisory_lock(
    connection: Asks,
    name: str | int,
    *,
    timeout: float | None = None,
    poll: float = 0.2,
    runtime: Runtime = SYSTEM,
) -> AsyncIterator[None]:
    """Holds the lock `name` while the block runs; `connection` must stay the same one, outside of a pooler.

    Waits for another holder at most `timeout` seconds (None: as long as the Deadline allows), looking every
    `poll` seconds, give or take a quarter. The server frees the lock when the connection ends, however it ends.

    Raises CallTimeoutError or DeadlineExceededError, without having taken the lock.
    """
    if poll <= 0:
        raise ValueError(f"poll must be a positive number of seconds, got {poll!r}")
    key = lock_key(name) if isinstance(name, str) else name
    clock = runtime.clock
    until = None if timeout is None else clock.monotonic() + timeout
    while not await connection.fetchval("select pg_try_advisory_lock($1::bigint)", key):
        left = Deadline.sooner(None if until is None else max(0.0, until - clock.monotonic()))
        if left is not None and left <= 0:
            if Deadline.sooner(None) == 0:
                raise DeadlineExceededError(f"the deadline passed while waiting for the lock {name!r}")
            raise CallTimeoutError(f"somebody else held the lock {name!r} for {timeout} s", timeout=timeout)
        pause = poll * (0.75 + runtime.rng.random() / 2)
        await clock.sleep(pause if left is None else min(pause, left))
    try:
        yield
    finally:
        await connection.fetchval("select pg_advisory_unlock($1::bigint)", key)
