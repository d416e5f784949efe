"""Decision: the answer of the limiter, and all that headers and messages need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from prodkit.errors import RateLimitedError
from prodkit.ratelimit.algorithms import Entry, Log, Outlook
from prodkit.ratelimit.limit import Key, Limit

__all__ = ["Decision", "Grant", "LimitState", "Source"]

Source: TypeAlias = Literal["redis", "memory", "local", "outage"]


@dataclass(frozen=True, slots=True)
class LimitState:
    """How one limit stands after the check. Durations are seconds; 0.0 where there is nothing to wait for.

    `retry_after` is the exact wait of a refused caller, `more_after` the wait for any quota to come back,
    `reset_after` the wait for all of it.
    """

    limit: Limit
    remaining: int
    retry_after: float
    more_after: float
    reset_after: float


class Grant(NamedTuple):
    """What a check took, so that a refund gives back exactly that."""

    limit: Limit
    key: Key
    log: Log
    entry: Entry
    cost: int


class Decision:
    """Whether the caller may go on.

    `source` says who counted: ``redis``; ``memory`` (no Redis configured); ``local`` (Redis is away, this
    process counts alone); ``outage`` (Redis is away, and a limit says deny or allow).
    """

    __slots__ = ("_limits", "_outlooks", "allowed", "cost", "grants", "source")

    def __init__(
        self,
        limits: Sequence[Limit],
        outlooks: Sequence[Outlook],
        source: Source,
        cost: int,
        grants: list[Grant],
    ) -> None:
        self._limits = limits
        self._outlooks = outlooks
        self.source = source
        self.cost = cost
        self.grants = grants
        self.allowed = True
        for outlook in outlooks:
            if outlook[1]:
                self.allowed = False

    @property
    def states(self) -> tuple[LimitState, ...]:
        """How each limit stands, in the order in which they were given."""
        return tuple(
            LimitState(limit, remaining, wait / 1e6, more / 1e6, full / 1e6)
            for limit, (remaining, wait, more, full) in zip(self._limits, self._outlooks, strict=True)
        )

    @property
    def remaining(self) -> int:
        """What is left of the tightest limit."""
        return min(outlook.remaining for outlook in self._outlooks)

    @property
    def retry_after(self) -> float:
        """Seconds until all limits would let the same call through; 0.0 when it was allowed."""
        return max(outlook.wait for outlook in self._outlooks) / 1e6

    @property
    def reset_after(self) -> float:
        """Seconds until the tightest limit is whole again."""
        return min(self._outlooks, key=lambda outlook: (outlook.remaining, -outlook.full)).full / 1e6

    @property
    def violated(self) -> tuple[Limit, ...]:
        """The limits that refused."""
        return tuple(
            limit for limit, outlook in zip(self._limits, self._outlooks, strict=True) if outlook.wait
        )

    @property
    def unavailable(self) -> bool:
        """Refused because Redis is away, not because the caller did too much: 503 instead of 429."""
        return not self.allowed and self.source == "outage"

    def raise_if_denied(self) -> None:
        """Raises :class:`~prodkit.RateLimitedError` when the call was refused."""
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
