"""Events of a cache. Names and durations, never keys or values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from prodkit.core.events import Event, Level, Metric, Metrics

__all__ = [
    "CacheCaughtUp",
    "CacheHit",
    "CacheInvalidated",
    "CacheLoaded",
    "CacheMissed",
    "CacheRefreshFailed",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheHit(Event):
    """A value was found.

    Args:
        cache: the namespace.
        tier: memory or redis.
        stale: it is past its ttl and a refresh is due.
    """

    name = "cache.hit"
    level: ClassVar[Level] = "DEBUG"
    metric: ClassVar[Metrics] = Metric("cache_reads", labels=("cache", "tier"), help="Cache hits by tier.")
    cache: str
    tier: Literal["memory", "redis"]
    stale: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheMissed(Event):
    """No usable value was found.

    Args:
        cache: the namespace.
    """

    name = "cache.missed"
    level: ClassVar[Level] = "DEBUG"
    metric: ClassVar[Metrics] = Metric(
        "cache_misses", labels=("cache",), help="Reads that found no fresh entry."
    )
    cache: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheLoaded(Event):
    """A load finished.

    Args:
        cache: the namespace.
        seconds: its duration.
        stored: False when its key was invalidated while it ran, or its condition did not hold.
    """

    name = "cache.loaded"
    level: ClassVar[Level] = "DEBUG"
    metric: ClassVar[Metrics] = Metric(
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
    """A refresh in the background failed; the stale value stays.

    Args:
        cache: the namespace.
        error: the class of the exception.
        retry_in: seconds until the next attempt.
    """

    name = "cache.refresh_failed"
    level: ClassVar[Level] = "WARNING"
    metric: ClassVar[Metrics] = Metric(
        "cache_refresh_failures", labels=("cache", "error"), help="Background refreshes that failed."
    )
    cache: str
    error: str
    retry_in: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheInvalidated(Event):
    """Keys, tags, a pattern or everything were invalidated.

    Args:
        cache: the namespace.
        what: the kind of names.
        logged: Redis is away, and the invalidation went to the outage log.
    """

    name = "cache.invalidated"
    level: ClassVar[Level] = "DEBUG"
    metric: ClassVar[Metrics] = Metric(
        "cache_invalidations", labels=("cache",), help="Invalidations of keys, tags and patterns."
    )
    cache: str
    what: Literal["keys", "tags", "pattern", "all"]
    logged: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheCaughtUp(Event):
    """The keys that were invalidated by pattern during an outage are gone from Redis.

    Args:
        cache: the namespace.
        patterns: patterns that were swept.
        seconds: since the sweep began.
    """

    name = "cache.caught_up"
    level: ClassVar[Level] = "INFO"
    metric: ClassVar[Metrics] = Metric(
        "cache_catch_up_seconds",
        "histogram",
        ("cache",),
        value="seconds",
        unit="seconds",
        help="Time to sweep the patterns of an outage.",
    )
    cache: str
    patterns: int
    seconds: float
