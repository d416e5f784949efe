"""One cached value, and for how long it may be used."""

from __future__ import annotations

import enum
import math
from datetime import timedelta
from random import Random
from typing import Final, Literal, TypeAlias

__all__ = ["FOREVER", "MISSING", "Entry", "Forever", "Missing", "Ttl", "lifetime", "seconds"]


class Missing(enum.Enum):
    """The type of :data:`MISSING`."""

    MISSING = "MISSING"

    def __repr__(self) -> str:
        return "MISSING"

    def __bool__(self) -> Literal[False]:
        return False


class Forever(enum.Enum):
    """The type of :data:`FOREVER`."""

    FOREVER = "FOREVER"

    def __repr__(self) -> str:
        return "FOREVER"


MISSING: Final = Missing.MISSING
"""Nothing is cached, which is something else than a cached None."""
FOREVER: Final = Forever.FOREVER
"""The ttl of what never expires by itself."""

Ttl: TypeAlias = float | timedelta | Forever


class Entry:
    """A payload and its times, as instants of the local clock.

    Fresh until `soft`, usable as stale until `hard`. What came from Redis may be changed by other
    processes, so it is believed until `trusted`; after that Redis is asked, if it is there.
    """

    __slots__ = (
        "cost",
        "era",
        "hard",
        "ours_until",
        "payload",
        "retries",
        "retry_at",
        "soft",
        "tags",
        "trusted",
        "value",
    )

    def __init__(
        self,
        payload: bytes,
        value: object,
        *,
        soft: float,
        hard: float,
        trusted: float = math.inf,
        cost: float = 0.0,
        tags: frozenset[str] = frozenset(),
    ) -> None:
        self.payload = payload
        self.value = value  # MISSING where every reader gets a copy of its own
        self.soft = soft
        self.hard = hard
        self.trusted = trusted
        self.cost = cost
        self.tags = tags
        self.ours_until = 0.0  # news about the key before this instant may be of our own writing
        self.era = 0  # in which it was read from Redis with every change being heard
        self.retry_at = 0.0
        self.retries = 0


def seconds(name: str, value: Ttl) -> float:
    """`value` in seconds, ``math.inf`` for FOREVER. Raises ValueError for what would be "never" or "at
    once".
    """
    if value is FOREVER:
        return math.inf
    number: object = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(number, bool) or not isinstance(number, (int, float)) or not 0 < number < math.inf:
        raise ValueError(
            f"{name} must be a positive number of seconds, a timedelta or FOREVER, got {value!r}"
        )
    return float(number)


def lifetime(ttl: Ttl, stale: float | timedelta, jitter: float, rng: Random) -> tuple[float, float]:
    """Seconds until soft and hard expiry. Jitter only shortens, so that no value outlives its ttl."""
    fresh = seconds("ttl", ttl)
    if not 0 <= jitter < 1:
        raise ValueError(f"jitter must be at least 0 and below 1, got {jitter!r}")
    extra = 0.0 if stale == 0 and not isinstance(stale, bool) else seconds("stale", stale)
    if extra == math.inf:
        raise ValueError("stale must have an end: what may be served for ever needs no ttl")
    if jitter and fresh != math.inf:
        fresh *= 1 - jitter * rng.random()
    return fresh, fresh + extra
