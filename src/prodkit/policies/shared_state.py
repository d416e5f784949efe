"""The protocol by which the breakers of several processes share their state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

__all__ = ["SharedState"]


class SharedState(Protocol):
    """What several processes tell each other about one dependency. Nothing is asked while a circuit is
    closed.

    The three plain methods return at once and never raise: an implementation that talks to a network does so
    in the background. :meth:`claim` alone is awaited, once per probe.
    """

    def listen(self, breaker: str, opened: Callable[[float], None], closed: Callable[[], None]) -> None:
        """Calls ``opened(seconds)`` and ``closed()`` when another process opened or closed `breaker`."""
        ...

    def opened(self, breaker: str, seconds: float) -> None:
        """Tells the others that `breaker` opened here and stays open for `seconds`."""
        ...

    def closed(self, breaker: str) -> None:
        """Tells the others that a probe of `breaker` succeeded here."""
        ...

    async def claim(self, breaker: str, seconds: float) -> float | None:
        """Asks to be the one process that probes, for `seconds`.

        Returns None when the probe is ours, also when the others cannot be asked; else the seconds until it
        is worth asking again.
        """
        ...
