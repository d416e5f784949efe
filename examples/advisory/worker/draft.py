"""A text that is stored while it arrives, so that another worker can resume it in the middle of a sentence.

::

    model ── pieces ──► Draft.write ── store("more text") ──► a row and a notice ──► the page
                            │ at once, then at most ten times a second
                            └ text: all that has arrived, also where the stream broke off
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Final

__all__ = ["PACE", "Draft", "storable"]

PACE: Final = 0.1
"""Seconds between two writes: a page that grows ten times a second reads smoothly, and each write is a commit."""


class Draft:
    """One text that grows."""

    def __init__(self, text: str, store: Callable[[str], Awaitable[None]], *, pace: float = PACE) -> None:
        self.text = text
        self._store = store
        self._pace = pace

    async def write(self, pieces: AsyncIterator[str]) -> None:
        """Store `pieces` as they come, the rest at their end.

        An error of the stream is raised at once: what was not stored yet is in `text`, for the last write. An error
        of `store` ends the reading.
        """
        news = asyncio.Event()
        waiting: list[str] = []
        ended = False

        async def storing() -> None:
            while True:
                await news.wait()
                news.clear()
                if waiting:
                    more = "".join(waiting)
                    waiting.clear()
                    await self._store(more)
                if ended and not waiting:
                    return
                if not ended:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(self._pace):
                            await closing.wait()

        closing = asyncio.Event()
        task = asyncio.create_task(storing(), name="draft")
        try:
            async for piece in pieces:
                if task.done():
                    break
                if more := storable(piece):
                    self.text += more
                    waiting.append(more)
                    news.set()
            ended = True
            closing.set()
            news.set()
            await task
        finally:
            if not task.done():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)


def storable(text: str) -> str:
    """The text without what PostgreSQL cannot hold: NUL, and surrogates that stand alone."""
    return text.replace("\x00", "").encode("utf-8", "replace").decode()
