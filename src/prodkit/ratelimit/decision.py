"""Decision: the answer of the limiter, with all that headers and messages need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from prodkit.errors import RateLimitedError
from prodkit.ratelimit.algorithms import Entry, Log
from prodkit.ratelimit.limit import Key, Limit

__all__ = ["Decision", "Grant", "LimitState", "Source"]

Grant: TypeAlias = tuple[Limit, Key, Log, Entry, int]
"""The admission that a check has recorded and its cost, so that a refund gives back exactly that."""

Outlook: TypeAlias = tuple[int, int, int, int]
"""Remaining, wait, more and full, as in :class:`prodkit.ratelimit.algorithms.Outlook`, in microseconds."""

Source: TypeAlias = Literal["redis", "memory", "local", "outage"]


@dataclass(frozen=True, slots=True)
class LimitState:
    """One limit after the check.

    Args:
        limit: the limit.
        remaining: the quota that is left.
        retry_after: seconds until a refused caller would be admitted; 0.0 when it was not refused.
        more_after: seconds until any quota comes back; 0.0 when none is used.
        reset_after: seconds until all of it has.
    """

    limit: Limit
    remaining: int
    retry_after: float
    more_after: float
    reset_after: float


class Decision:
    """The answer to one check; read :attr:`allowed`.

    Made by :meth:`RateLimiter.check`. `source` names the counter: ``redis``; ``memory`` (no Redis configured);
    ``local`` (Redis is away, this process counts alone); ``outage`` (Redis is away, and a limit says deny or allow).

    Args:
        limits: the limits checked.
        outlooks: one for each limit, in microseconds.
        source: the counter.
        cost: the quota asked for.
        grants: the admissions recorded, for a refund.
    """

    __slots__ = ("_limits", "_outlooks", "allowed", "cost", "grants", "source")

    def __init__(
        self,
        limits: Sequence[Limit],
        outlooks: Sequence[Outlook],
        source: Source,
        cost: int,
        grants: tuple[Grant, ...],
    ) -> None:
        self._limits: Sequence[Limit] = limits
        self._outlooks: Sequence[Outlook] = outlooks
        self.source: Source = source
        self.cost: int = cost
        self.grants: tuple[Grant, ...] = grants
        self.allowed: bool = True
        for at, outlook in enumerate(outlooks):
            if outlook[1] and not limits[at].shadow:
                self.allowed = False

    @property
    def states(self) -> tuple[LimitState, ...]:
        """The state of each limit, in the order in which they were given."""
        return tuple(
            LimitState(limit, remaining, wait / 1e6, more / 1e6, full / 1e6)
            for limit, (remaining, wait, more, full) in zip(self._limits, self._outlooks, strict=True)
        )

    @property
    def remaining(self) -> int:
        """The quota left of the tightest limit; limits on trial are left out where there are others."""
        return min(outlook[0] for outlook in self._decisive)

    @property
    def retry_after(self) -> float:
        """Seconds until all limits would admit the same call; 0.0 when it was admitted."""
        return 0.0 if self.allowed else max(outlook[1] for outlook in self._decisive) / 1e6

    @property
    def reset_after(self) -> float:
        """Seconds until the tightest limit is whole again."""
        return min(self._decisive, key=lambda outlook: (outlook[0], -outlook[3]))[3] / 1e6

    @property
    def violated(self) -> tuple[Limit, ...]:
        """The limits that refused."""
        pairs = zip(self._limits, self._outlooks, strict=True)
        return tuple(limit for limit, outlook in pairs if outlook[1] and not limit.shadow)

    @property
    def unavailable(self) -> bool:
        """True when it was refused because Redis is away, not because the caller did too much: 503 instead of 429."""
        return not self.allowed and self.source == "outage"

    @property
    def _decisive(self) -> list[Outlook]:
        pairs = zip(self._limits, self._outlooks, strict=True)
        return [outlook for limit, outlook in pairs if not limit.shadow] or list(self._outlooks)

    def raise_if_denied(self) -> None:
        """Raise :class:`~prodkit.RateLimitedError` when the call was refused."""
        if not self.allowed:
            name = self.violated[0].name
            raise RateLimitedError(
                f"rate limit {name!r} reached: try again in {self.retry_after:.3f} s",
                retry_after=self.retry_after,
                limit=name,
            )

    def __bool__(self) -> bool:
        raise TypeError("ask decision.allowed: a Decision itself is neither true nor false")

    def __repr__(self) -> str:
        return (
            f"Decision(allowed={self.allowed}, remaining={self.remaining}, retry_after={self.retry_after:.3f}, "
            f"violated={[limit.name for limit in self.violated]}, source={self.source!r})"
        )
