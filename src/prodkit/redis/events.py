"""Events of the link."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from prodkit.core.events import Event, Level, Metric, Metrics

__all__ = ["RedisLost", "RedisRecovered"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisLost(Event):
    """Redis stopped answering; its users work in memory until it recovers.

    Args:
        address: where the link points to, without user and password.
        reason: the error that ended it.
    """

    name = "redis.lost"
    level: ClassVar[Level] = "WARNING"
    metric: ClassVar[Metrics] = Metric(
        "redis_losses", labels=("address",), help="Losses of the connection to Redis."
    )
    address: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisRecovered(Event):
    """Redis answers again and the callbacks of ``on_up`` have run.

    Args:
        address: where the link points to, without user and password.
        down_for: seconds between the loss and the recovery.
    """

    name = "redis.recovered"
    level: ClassVar[Level] = "INFO"
    metric: ClassVar[Metrics] = Metric(
        "redis_down_seconds",
        "histogram",
        ("address",),
        value="down_for",
        unit="seconds",
        help="Length of an outage of Redis.",
    )
    address: str
    down_for: float
