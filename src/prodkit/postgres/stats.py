"""The state of a pool in numbers."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PoolStats"]


@dataclass(frozen=True, slots=True)
class PoolStats:
    """A snapshot, and the sums since the start."""

    size: int
    """Open connections."""
    idle: int
    """Open connections that can be lent at once."""
    used: int
    """Connections that a caller holds."""
    waiting: int
    """Callers in the queue."""
    min_size: int
    max_size: int
    acquired: int
    """Acquisitions so far."""
    waited: float
    """Seconds that all of them waited, added up."""
    exhausted: int
    """Callers that were refused because no connection became free in time."""
    connect_failures: int
    oldest_use: float
    """For how many seconds the oldest borrower has held its connection."""
    resetting: int = 0
    """Connections that are being reset after use, or tested before the next."""
    connecting: int = 0
    """Connections that are being opened."""
    cancelled: int = 0
    """Callers that were cancelled in the queue."""
    reclaimed: int = 0
    """Connections that were never given back and taken back by the pool."""
