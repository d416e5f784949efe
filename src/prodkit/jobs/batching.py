"""Group commit: writes that are asked for while one is in flight share the next statement.

::

    finish(a) ─┐                          ┌ a
    finish(b) ─┼─ one statement ──────────┤ b          while it runs, c and d queue up
    …                                     └
    finish(c) ─┬─ the next statement ──── c, d

A lone write is sent at once; a hundred concurrent ones cost two or three round trips instead of a hundred.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from typing import Generic, TypeVar

__all__ = ["GroupCommit"]

I = TypeVar("I")  # noqa: E741 - item
O = TypeVar("O")  # noqa: E741 - outcome


class GroupCommit(Generic[I, O]):
    """Collects items and hands them to `flush` together.

    Args:
        flush: writes the items and returns one outcome an item, in order.
        most: items in one statement.
    """

    __slots__ = ("_flush", "_most", "_task", "_waiting")

    def __init__(self, flush: Callable[[Sequence[I]], Awaitable[Sequence[O]]], *, most: int = 200) -> None:
        self._flush = flush
        self._most = most
        self._waiting: list[tuple[I, asyncio.Future[O]]] = []
        self._task: asyncio.Task[None] | None = None

    async def add(self, item: I) -> O:
        """Write `item` with the next statement and return its outcome.

        Args:
            item: what `flush` writes.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[O] = loop.create_future()
        self._waiting.append((item, future))
        if self._task is None or self._task.done():
            # Without the caller's context: its deadline must not cut what others wait for.
            self._task = loop.create_task(self._drain(), context=Context())
        return await future

    async def _drain(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
            try:
                outcomes = await self._flush([item for item, _ in batch])
            except BaseException as error:
                for _, future in batch:
                    if not future.done():
                        if isinstance(error, Exception):
                            future.set_exception(error)
                        else:
                            future.cancel()
                if not isinstance(error, Exception):
                    raise
            else:
                for (_, future), outcome in zip(batch, outcomes, strict=True):
                    if not future.done():
                        future.set_result(outcome)
