"""Places for requests in front of the connection pool: whoever gets one finds a connection, too.

A pool that is exhausted would raise what looks like a timeout of the server. Here the wait has a line of its own,
first come first served, with an end.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Literal, TypeAlias

__all__ = ["Places", "Refusal"]

Refusal: TypeAlias = Literal["full", "late"]
"""Why there is no place: the line is full, or time ran out."""


class Places:
    """At most `limit` requests at once, and at most `max_queue` callers that wait. Belongs to one event loop."""

    __slots__ = ("_line", "inflight", "limit", "max_queue")

    def __init__(self, limit: int, *, max_queue: int) -> None:
        self.limit = limit
        self.max_queue = max_queue
        self.inflight = 0
        self._line: deque[asyncio.Future[None]] = deque()

    @property
    def waiting(self) -> int:
        """Callers in line."""
        return len(self._line)

    def enter(self) -> bool:
        """Takes a place if one is free and nobody waits for it."""
        if self.inflight < self.limit and not self._line:
            self.inflight += 1
            return True
        return False

    async def wait(self, latest: float) -> Refusal | None:
        """Waits for a place until the loop's instant `latest`; None means that the caller now holds one.

        A caller that is cancelled leaves nothing behind, also when its place had just been given.
        """
        if len(self._line) >= self.max_queue:
            return "full"
        turn = asyncio.get_running_loop().create_future()
        self._line.append(turn)
        try:
            async with asyncio.timeout_at(latest):
                await turn
        except TimeoutError:
            return None if self._given(turn) else "late"
        except BaseException:
            if self._given(turn):
                self.leave()
            raise
        return None

    def _given(self, turn: asyncio.Future[None]) -> bool:
        if turn.done() and not turn.cancelled():
            return True
        if turn in self._line:
            self._line.remove(turn)
        return False

    def leave(self) -> None:
        """Gives a place back: to the first in line, if there is one."""
        while self._line:
            turn = self._line.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self.inflight -= 1
