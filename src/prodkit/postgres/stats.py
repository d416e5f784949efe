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
    """Open connections that nobody holds."""
    used: int
    """Connections that somebody holds, or that are being cleaned after use."""
    waiting: int
    """Callers waiting for one."""
    min_size: int
    max_size: int
    acquired: int
    """Acquisitions so far."""
    waited: float
    """Seconds that all of them waited, added up."""
    exhausted: int
    """Callers that gave up waiting."""
    connect_failures: int
    oldest_use: float
    """For how many seconds the longest holder has held its connection."""
