"""What the limiter tells. Names of limits, never keys."""

from __future__ import annotations

from dataclasses import dataclass

from prodkit.core.events import Event

__all__ = ["RateLimitDenied", "RateLimitUnchecked"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimitDenied(Event):
    """A caller was refused by `limit`; `source` says who counted: redis, memory, local or outage."""

    name = "ratelimit.denied"
    limit: str
    retry_after: float
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimitUnchecked(Event):
    """A caller was let through uncounted, because `limit` says so for outages of Redis."""

    name = "ratelimit.unchecked"
    limit: str
