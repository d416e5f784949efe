"""Decide whether one more connection helps the callers that wait. Pure.

A connect costs about a hundred times a small query, and a server gets slower past about ten busy connections a core.
So a pool grows only when the queue would not be empty by the time the new connection is ready; and since one more
shortens the queue by a smaller part the more there are, each four connections ask for the time of a connect more::

    waiting 200, 2 connections, 1 ms a use:  200 * 1 ms / 2 = 100 ms > 10 ms a connect   -> grow
    waiting  30, 6 connections, 1 ms a use:   30 * 1 ms / 6 =   5 ms < 10 ms a connect   -> wait
    waiting 100, 8 connections, 1 ms a use:  100 * 1 ms / 8 =  13 ms < 10 ms * 8 / 4     -> wait

The estimate says nothing when no connection comes back at all: after the time of a connect, or of four usual uses,
without a return the pool grows as well.
"""

from __future__ import annotations

from math import inf
from typing import Final

__all__ = ["Growth"]

_WEIGHT: Final = 0.2
_FIRST_CONNECT: Final = 0.01
_LONGEST_WAIT: Final = 0.25
_SHARE: Final = 4


class Growth:
    """Running means of one pool: seconds of a use, and seconds of a connect."""

    __slots__ = ("connect", "last_return", "use")

    def __init__(self) -> None:
        self.use: float | None = None
        self.connect: float = _FIRST_CONNECT
        self.last_return: float = -inf

    def returned(self, used: float, now: float) -> None:
        """Learn from a connection that came back after `used` seconds."""
        self.use = used if self.use is None else self.use + _WEIGHT * (used - self.use)
        self.last_return = now

    def connected(self, took: float) -> None:
        """Learn from a connect that took `took` seconds."""
        self.connect += _WEIGHT * (took - self.connect)

    def pays(self, *, waiting: int, busy: int, now: float, waited: float, coming: int = 0) -> bool:
        """Return True when another connection helps.

        Args:
            waiting: callers in the queue that no connection is on its way for.
            busy: connections that will come back.
            now: the instant.
            waited: seconds that the first in the queue has waited.
            coming: connections that are being made.
        """
        if waiting <= 0:
            return False
        if not busy or self.use is None:
            return True
        served = busy + coming
        if waiting * self.use / served > self._worth(served):
            return True
        return min(waited, now - self.last_return) >= self.patience

    def _worth(self, served: int) -> float:
        """Return the seconds of queueing that justify one more connection than `served`."""
        return max(self.connect, min(self.connect * served / _SHARE, _LONGEST_WAIT))

    @property
    def patience(self) -> float:
        """Seconds without a return after which a pool grows for its queue."""
        return min(max(self.connect, 4 * (self.use or 0.0)), _LONGEST_WAIT)
