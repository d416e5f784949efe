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

from prodkit.errors import DatabaseError, PoolExhaustedError

__all__ = ["OUTAGE", "PACE", "Draft", "storable"]

PACE: Final = 0.1
"""Seconds between two writes: a page that grows ten times a second reads smoothly, and each write is a commit."""
OUTAGE: Final = 30.0
"""Seconds for which an outage of the database is waited for; then the job fails and is taken up again."""
_AGAIN: Final = 0.3


class Draft:
    """One text that grows.

    ``store(more, at)`` writes `more` behind the first `at` characters. It may be called again for what it has stored
    already: after an outage of the database it is unknown whether a commit took effect.
    """

    def __init__(
        self, text: str, store: Callable[[str, int], Awaitable[None]], *, pace: float = PACE
    ) -> None:
        self.text = text
        self._stored = len(text)
        self._store = store
        self._pace = pace

    async def write(self, pieces: AsyncIterator[str]) -> None:
        """Store `pieces` as they come, the rest at their end.

        An error of the stream is raised at once: what was not stored yet is in `text`, for the last write. An error
        of `store` ends the reading, but for an outage of the database: that is waited for, while the text goes on.
        """
        news, ended = asyncio.Event(), asyncio.Event()
        task = asyncio.create_task(self._storing(news, ended), name="draft")
        try:
            async for piece in pieces:
                if task.done():
                    break
                if more := storable(piece):
                    self.text += more
                    news.set()
            ended.set()
            news.set()
            await task
        finally:
            if not task.done():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    async def _storing(self, news: asyncio.Event, ended: asyncio.Event) -> None:
        while True:
            await news.wait()
            news.clear()
            if len(self.text) > self._stored:
                await self._flush()
            if ended.is_set():
                if len(self.text) == self._stored:
                    return
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pace):
                    await ended.wait()

    async def _flush(self) -> None:
        began = asyncio.get_running_loop().time()
        while True:
            more, at = self.text[self._stored :], self._stored
            try:
                await self._store(more, at)
            except (DatabaseError, PoolExhaustedError):
                if asyncio.get_running_loop().time() - began > OUTAGE:
                    raise
                await asyncio.sleep(_AGAIN)
            else:
                self._stored = at + len(more)
                return


def storable(text: str) -> str:
    """The text without what PostgreSQL cannot hold: NUL, and surrogates that stand alone."""
    return text.replace("\x00", "").encode("utf-8", "replace").decode()
