"""The protocol by which the breakers of several processes share their state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

__all__ = ["SharedState"]


class SharedState(Protocol):
    """The state of one dependency's breaker that several processes share. Nothing is asked while a circuit is closed.

    The three plain methods return at once and never raise: an implementation that talks to a network does so in the
    background. :meth:`claim` alone is awaited, once per probe.
    """

    def listen(self, breaker: str, opened: Callable[[float], None], closed: Callable[[], None]) -> None:
        """Call ``opened(seconds)`` and ``closed()`` when another process opened or closed `breaker`.

        Args:
            breaker: its name.
            opened: gets the seconds for which it stays open.
            closed: gets nothing.
        """
        ...

    def opened(self, breaker: str, seconds: float) -> None:
        """Share that `breaker` opened here and stays open for `seconds`."""
        ...

    def closed(self, breaker: str) -> None:
        """Share that a probe of `breaker` succeeded here."""
        ...

    async def claim(self, breaker: str, seconds: float) -> float | None:
        """Ask to be the one process that probes `breaker`, for `seconds`.

        Returns:
            None when the probe is granted, also when the other processes cannot be asked; else the seconds until it is
            worth asking again.
        """
        ...
