"""What the limiter tells. Names of limits, never keys."""

from __future__ import annotations

from dataclasses import dataclass

from prodkit.core.events import Event, Metric

__all__ = ["RateLimitDenied", "RateLimitUnchecked"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimitDenied(Event):
    """A caller was refused by `limit`; `source` says who counted: redis, memory, local or outage."""

    name = "ratelimit.denied"
    level = "INFO"
    metric = Metric("ratelimit_denials", labels=("limit", "source"), help="Requests refused by a rate limit.")
    limit: str
    retry_after: float
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimitUnchecked(Event):
    """A caller was let through uncounted, because `limit` says so for outages of Redis."""

    name = "ratelimit.unchecked"
    level = "WARNING"
    metric = Metric(
        "ratelimit_unchecked",
        labels=("limit",),
        help="Requests admitted because the limit could not be checked.",
    )
    limit: str
