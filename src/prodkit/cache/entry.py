"""One cached value, and for how long it may be used."""

from __future__ import annotations

import enum
import math
from datetime import timedelta
from random import Random
from typing import Any, Final, Generic, Literal, TypeAlias, TypeVar

__all__ = [
    "FOREVER",
    "MISSING",
    "Entry",
    "Failure",
    "Forever",
    "Hit",
    "Missing",
    "Ttl",
    "lifetime",
    "seconds",
]

T_co = TypeVar("T_co", covariant=True)


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
"""The ttl of a value that never expires by itself."""

_LONGEST: Final = 1e12  # seconds: beyond 30,000 years Redis has no number for it
Ttl: TypeAlias = float | timedelta | Forever


class Hit(Generic[T_co]):
    """The answer of :meth:`Cache.lookup`: a value, and how it was found.

    Args:
        value: the value.
        stale: True when it is past its ttl.
        source: ``memory``, ``redis`` or ``load``.
        error: the error of the load that a stale value stands in for.
    """

    __slots__ = ("error", "source", "stale", "value")

    def __init__(
        self,
        value: T_co,
        *,
        stale: bool = False,
        source: Literal["memory", "redis", "load"] = "memory",
        error: BaseException | None = None,
    ) -> None:
        self.value: T_co = value
        self.stale: bool = stale
        self.source: Literal["memory", "redis", "load"] = source
        self.error: BaseException | None = error

    def __repr__(self) -> str:
        return f"Hit(stale={self.stale}, source={self.source!r}, error={self.error!r})"


class Failure:
    """A cached exception: the qualified name of its class and its arguments."""

    __slots__ = ("args", "kind")

    def __init__(self, kind: str, args: tuple[Any, ...]) -> None:
        self.kind: str = kind
        self.args: tuple[Any, ...] = args


class Entry:
    """A payload and its times, as instants of the local clock.

    ::

        stored ───── fresh_until ───────────── expires_at
          served        served stale, refresh due      gone
             └─ revalidate_at: from here on Redis is asked whether another process has changed it

    Redis is asked about nothing while changes are heard: `session` is the tracking session in which the value was
    read, and as long as that session lasts every change of it has arrived as an invalidation message.
    """

    __slots__ = (
        "cost",
        "error",
        "expires_at",
        "failure",
        "fresh_until",
        "generation",
        "head",
        "own_until",
        "packed",
        "payload",
        "retries",
        "retry_at",
        "revalidate_at",
        "session",
        "size",
        "tags",
        "value",
    )

    def __init__(
        self,
        payload: bytes,
        value: object,
        *,
        fresh_until: float,
        expires_at: float,
        revalidate_at: float = math.inf,
        cost: float = 0.0,
        tags: frozenset[str] = frozenset(),
        failure: Failure | None = None,
        head: bytes = b"",
        generation: bytes | None = None,
    ) -> None:
        self.payload: bytes = payload
        self.packed: bool = False  # the payload is not the codec's, but a faster form of this process
        self.value: object = value  # MISSING where every reader gets a copy of its own
        self.fresh_until: float = fresh_until
        self.expires_at: float = expires_at
        self.revalidate_at: float = revalidate_at
        self.cost: float = cost
        self.failure: Failure | None = failure  # instead of a value: a cached exception
        self.tags: frozenset[str] = tags
        self.head: bytes = head  # of the value in Redis, new with every write; empty for one with tags
        self.generation: bytes | None = generation  # the one that it was read in
        self.own_until: float = 0.0  # a message about the key before this instant may be of our own writing
        self.session: int = 0
        self.error: BaseException | None = None  # of the last refresh, while it stands in for a fresh value
        self.retry_at: float = 0.0
        self.retries: int = 0
        self.size: int = 0  # bytes in the memory tier

    def distrust(self) -> None:
        """Ask Redis before the next use, if Redis is there."""
        self.revalidate_at, self.session = 0.0, 0


def seconds(name: str, value: Ttl) -> float:
    """Return `value` in seconds, ``math.inf`` for FOREVER.

    Args:
        name: of the parameter, for the error.
        value: seconds, a timedelta or FOREVER.

    Raises:
        ValueError: it would mean "never" or "at once".
    """
    if value is FOREVER:
        return math.inf
    number: object = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(number, bool) or not isinstance(number, int | float) or not 0 < number <= _LONGEST:
        raise ValueError(
            f"{name} must be a positive number of seconds, a timedelta or FOREVER, got {value!r}"
        )
    return float(number)


def lifetime(ttl: Ttl, stale: float | timedelta, jitter: float, rng: Random) -> tuple[float, float]:
    """Return the seconds until a value is no longer fresh, and until it is gone.

    Args:
        ttl: seconds, a timedelta or FOREVER.
        stale: how long after that it may still be served.
        jitter: shortens ttl by up to this fraction, never prolongs it.
        rng: the source of chance.
    """
    fresh = seconds("ttl", ttl)
    if not 0 <= jitter < 1:
        raise ValueError(f"jitter must be at least 0 and below 1, got {jitter!r}")
    extra = 0.0 if stale == 0 and not isinstance(stale, bool) else seconds("stale", stale)
    if extra == math.inf:
        raise ValueError("stale must have an end: a value that may be served for ever needs no ttl")
    if jitter and fresh != math.inf:
        fresh *= 1 - jitter * rng.random()
    return fresh, fresh + extra
