"""Connect to the first of several hosts that answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from prodkit.postgres.address import Host

if TYPE_CHECKING:
    from prodkit.postgres.asyncpg_internals import GuardedConnection

__all__ = ["race"]

_STAGGER: Final = 0.15


async def race(
    attempts: list[tuple[Host, Callable[[], Awaitable[GuardedConnection]]]],
    *,
    discard: Callable[[GuardedConnection], None],
) -> tuple[Host, GuardedConnection]:
    """Start one attempt after the other, 0.15 s apart or as soon as the one before fails; the first success wins.

    A host that does not answer therefore costs 0.15 s, not the whole connect timeout. What succeeds too late goes to
    `discard`. When all fail, an error that may pass is raised before one that says no.
    """
    tasks: dict[asyncio.Task[GuardedConnection], Host] = {}
    errors: list[BaseException] = []
    queue = list(attempts)
    winner: asyncio.Task[GuardedConnection] | None = None
    try:
        while winner is None and (queue or tasks):
            if queue:
                host, start = queue.pop(0)
                tasks[asyncio.ensure_future(start())] = host
            done, _ = await asyncio.wait(
                tasks, timeout=_STAGGER if queue else None, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                if (error := task.exception()) is None and winner is None:
                    winner = task
                elif error is not None:
                    errors.append(error)
                    del tasks[task]
    finally:
        for task in tasks:
            if task is not winner:
                task.add_done_callback(lambda done: _discard(done, discard))
                task.cancel()
    if winner is not None:
        return tasks[winner], winner.result()
    raise next((error for error in errors if isinstance(error, OSError)), errors[-1])


def _discard(task: asyncio.Task[GuardedConnection], discard: Callable[[GuardedConnection], None]) -> None:
    if not task.cancelled() and task.exception() is None:
        discard(task.result())
