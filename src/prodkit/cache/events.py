"""What a cache tells. Names and durations, never keys or values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from prodkit.core.events import Event

__all__ = ["CacheHit", "CacheInvalidated", "CacheLoaded", "CacheMissed", "CacheRefreshFailed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheHit(Event):
    """A value was found; `stale` when it is past its ttl and a refresh is due."""

    name = "cache.hit"
    cache: str
    tier: Literal["memory", "redis"]
    stale: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheMissed(Event):
    """Nothing usable was found."""

    name = "cache.missed"
    cache: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheLoaded(Event):
    """A load came back after `seconds`; it was not `stored` when something was invalidated meanwhile."""

    name = "cache.loaded"
    cache: str
    seconds: float
    stored: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheRefreshFailed(Event):
    """A refresh in the background failed; the stale value stays, and nobody tries for `retry_in` seconds."""

    name = "cache.refresh_failed"
    cache: str
    error: str
    retry_in: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheInvalidated(Event):
    """Keys, tags or a pattern were invalidated; `journaled` when Redis will be told later."""

    name = "cache.invalidated"
    cache: str
    what: Literal["keys", "tags", "pattern", "all"]
    journaled: bool
