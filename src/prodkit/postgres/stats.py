"""The state of a pool in numbers."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PoolStats"]


@dataclass(frozen=True, slots=True)
class PoolStats:
    """A snapshot, and the sums since the start.

    Args:
        size: open connections.
        idle: open connections that can be lent at once.
        used: connections that a caller holds.
        waiting: callers in the queue.
        min_size: connections that the pool keeps open.
        max_size: most connections.
        acquired: acquisitions so far.
        waited: seconds that all of them waited, added up.
        exhausted: callers that were refused because no connection became free in time.
        connect_failures: connects that failed so far.
        oldest_use: seconds that the longest borrower has held its connection.
        resetting: connections that are being reset after use, or tested before the next.
        connecting: connections that are being opened.
        cancelled: callers that were cancelled in the queue.
        reclaimed: connections that were never given back and taken back by the pool.
    """

    size: int
    idle: int
    used: int
    waiting: int
    min_size: int
    max_size: int
    acquired: int
    waited: float
    exhausted: int
    connect_failures: int
    oldest_use: float
    resetting: int = 0
    connecting: int = 0
    cancelled: int = 0
    reclaimed: int = 0
