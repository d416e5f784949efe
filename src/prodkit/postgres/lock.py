"""Locks that live in the database: one replica migrates, the others wait.

``pg_advisory_lock`` would wait inside a statement, which deadlocks against ``CREATE INDEX CONCURRENTLY`` of the
replica that holds the lock. So this asks with ``pg_try_advisory_lock`` and sleeps in between.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Protocol

from prodkit.core.deadline import Deadline
from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.core.validate import Arguments
from prodkit.errors import CallTimeoutError, DatabaseError, DeadlineExceededError, InvalidError

__all__ = ["Asks", "advisory_lock", "lock_key"]


class Asks(Protocol):
    """The part of a connection that a lock needs: asyncpg's has it, and so has one that a Pool lends."""

    async def fetchval(self, query: str, *args: Any) -> Any:
        """Return one value of the first row."""
        ...


def lock_key(name: str) -> int:
    """Return the 64-bit number under which PostgreSQL keeps the lock: the same in every process and release.

    Args:
        name: the lock.
    """
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
    """Hold a lock while the block runs. `connection` must stay the same one, without a transaction pooler between.

    The server frees the lock when the connection ends, however it ends. The block is then cancelled, because another
    process may hold the lock by now, and DatabaseError is raised.

    Args:
        connection: the session that holds the lock.
        name: the lock; an integer is used as the key itself.
        timeout: seconds to wait for another holder; None: as long as the Deadline allows.
        poll: seconds between two attempts, give or take a quarter.
        runtime: clock and random generator.

    Raises:
        CallTimeoutError: another session held the lock until the end of `timeout`.
        DeadlineExceededError: the deadline passed first.
        DatabaseError: the connection, and with it the lock, was lost while the block ran.
        InvalidError: a transaction pooler stands between, where the lock would stay with a server connection that
            serves others.
    """
    check = Arguments("advisory_lock")
    check.instance("name", name, (str, int), "a name or a 64-bit key")
    check.seconds("timeout", timeout, optional=True, zero=True)
    check.seconds("poll", poll)
    check.done()
    key = lock_key(name) if isinstance(name, str) else name
    await _refuse_pooler(connection)
    clock = runtime.clock
    until = None if timeout is None else clock.monotonic() + timeout
    while not await connection.fetchval("select pg_catalog.pg_try_advisory_lock($1::bigint)", key):
        left = Deadline.sooner(None if until is None else max(0.0, until - clock.monotonic()))
        if left is not None and left <= 0:
            if Deadline.sooner(None) == 0:
                raise DeadlineExceededError(f"the deadline passed while waiting for the lock {name!r}")
            raise CallTimeoutError(f"another session held the lock {name!r} for {timeout} s", timeout=timeout)
        pause = poll * (0.75 + runtime.rng.random() / 2)
        await clock.sleep(pause if left is None else min(pause, left))
    guard = _Guard(connection, name)
    try:
        with guard:
            yield
    finally:
        if not guard.lost:
            await _unlock(connection, key)


async def _unlock(connection: Asks, key: int) -> None:
    """Free the lock whatever the Deadline says; a connection that cannot answer loses it anyway."""
    with Deadline.detached():
        await connection.fetchval("select pg_catalog.pg_advisory_unlock($1::bigint)", key)


async def _refuse_pooler(connection: Asks) -> None:
    pid: Callable[[], int] | None = getattr(connection, "get_server_pid", None)
    pooled = getattr(getattr(connection, "guard", None), "through_pooler", None)
    if pooled is None and pid is not None:
        pooled = await connection.fetchval("select pg_catalog.pg_backend_pid()") != pid()
    if pooled:
        raise InvalidError(
            "an advisory lock does not work through a transaction pooler, which changes the server connection with "
            "every transaction: connect to the server directly for it"
        )


class _Guard:
    """Cancels the task of a block when the connection ends."""

    def __init__(self, connection: Asks, name: str | int) -> None:
        self._connection: Any = connection
        self._name = name
        self._task: asyncio.Task[Any] | None = None
        self._cancelling = 0
        self.lost: bool = False

    def __enter__(self) -> None:
        self._task = asyncio.current_task()
        self._cancelling = self._task.cancelling() if self._task is not None else 0
        if hasattr(self._connection, "add_termination_listener"):
            self._connection.add_termination_listener(self._ended)

    def _ended(self, _: object) -> None:
        self.lost = True
        if self._task is not None:
            self._task.cancel()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        task, self._task = self._task, None
        if not self.lost:
            if hasattr(self._connection, "remove_termination_listener"):
                self._connection.remove_termination_listener(self._ended)
            return
        others = task is not None and task.uncancel() > self._cancelling
        if not others:
            raise DatabaseError(
                f"the connection was lost, and the lock {self._name!r} with it; the block was cancelled"
            ) from error
