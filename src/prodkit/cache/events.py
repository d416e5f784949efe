"""What a cache tells. Names and durations, never keys or values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from prodkit.core.events import Event, Metric

__all__ = ["CacheHit", "CacheInvalidated", "CacheLoaded", "CacheMissed", "CacheRefreshFailed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheHit(Event):
    """A value was found; `stale` when it is past its ttl and a refresh is due."""

    name = "cache.hit"
    level = "DEBUG"
    metric = Metric("cache_reads", labels=("cache", "tier"), help="Cache hits by tier.")
    cache: str
    tier: Literal["memory", "redis"]
    stale: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheMissed(Event):
    """Nothing usable was found."""

    name = "cache.missed"
    level = "DEBUG"
    metric = Metric("cache_misses", labels=("cache",), help="Reads that found no fresh entry.")
    cache: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheLoaded(Event):
    """A load came back after `seconds`; it was not `stored` when something was invalidated meanwhile."""

    name = "cache.loaded"
    level = "DEBUG"
    metric = Metric(
        "cache_load_seconds",
        "histogram",
        ("cache",),
        value="seconds",
        unit="seconds",
        help="Time to load one entry.",
    )
    cache: str
    seconds: float
    stored: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheRefreshFailed(Event):
    """A refresh in the background failed; the stale value stays, and nobody tries for `retry_in` seconds."""

    name = "cache.refresh_failed"
    level = "WARNING"
    metric = Metric(
        "cache_refresh_failures", labels=("cache", "error"), help="Background refreshes that failed."
    )
    cache: str
    error: str
    retry_in: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheInvalidated(Event):
    """Keys, tags or a pattern were invalidated; `journaled` when Redis will be told later."""

    name = "cache.invalidated"
    level = "DEBUG"
    metric = Metric(
        "cache_invalidations", labels=("cache",), help="Invalidations of keys, tags and patterns."
    )
    cache: str
    what: Literal["keys", "tags", "pattern", "all"]
    journaled: bool
