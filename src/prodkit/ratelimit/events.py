"""Events of the limiter. Names of limits, never keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from prodkit.core.events import Event, Level, Metric, Metrics

__all__ = ["RateLimitCaughtUp", "RateLimitDenied", "RateLimitUnchecked"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimitDenied(Event):
    """A caller was refused by `limit`, or would have been.

    Args:
        limit: its name.
        retry_after: seconds until the same call would be admitted.
        source: the counter that decided: redis, memory, local or outage.
        shadow: the limit is on trial and the call was admitted.
    """

    name = "ratelimit.denied"
    level: ClassVar[Level] = "INFO"
    metric: ClassVar[Metrics] = Metric(
        "ratelimit_denials", labels=("limit", "source"), help="Requests refused by a rate limit."
    )
    limit: str
    retry_after: float
    source: str
    shadow: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimitUnchecked(Event):
    """A caller was admitted uncounted, because `limit` says so for outages of Redis.

    Args:
        limit: its name.
    """

    name = "ratelimit.unchecked"
    level: ClassVar[Level] = "WARNING"
    metric: ClassVar[Metrics] = Metric(
        "ratelimit_unchecked",
        labels=("limit",),
        help="Requests admitted because the limit could not be checked.",
    )
    limit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimitCaughtUp(Event):
    """Redis knows again everything that this process counted without it.

    Args:
        callers: counters that were merged.
        seconds: since the merging began.
    """

    name = "ratelimit.caught_up"
    level: ClassVar[Level] = "INFO"
    metric: ClassVar[Metrics] = Metric(
        "ratelimit_catch_up_seconds",
        "histogram",
        value="seconds",
        unit="seconds",
        help="Time to merge the counters of an outage into Redis.",
    )
    callers: int
    seconds: float
