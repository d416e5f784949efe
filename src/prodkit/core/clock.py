"""The clock: time is read in one place.

Durations come from the running event loop, so that a loop on virtual time moves everything, ``asyncio.timeout``
included. Outside a loop they come from :func:`time.monotonic`, which is what a real loop reads too: both agree.
Wall time only stamps records.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol, runtime_checkable

__all__ = ["Clock", "LoopClock"]


@runtime_checkable
class Clock(Protocol):
    """The source of time. All durations are seconds."""

    def monotonic(self) -> float:
        """Return an instant in seconds that never goes back; only differences mean anything."""
        ...

    def now(self) -> datetime:
        """Return the wall time as an aware UTC datetime, for records only."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait `seconds` in a coroutine; cancellable."""
        ...

    def block(self, seconds: float) -> None:
        """Wait `seconds` in a thread, for the synchronous faces of the policies."""
        ...


class LoopClock:
    """The default clock: the running loop's time, or the system's monotonic clock where no loop runs."""

    __slots__ = ()

    def monotonic(self) -> float:
        try:
            return asyncio.get_running_loop().time()
        except RuntimeError:
            return time.monotonic()

    def now(self) -> datetime:
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def block(self, seconds: float) -> None:
        time.sleep(seconds)

    def __repr__(self) -> str:
        return "LoopClock()"
