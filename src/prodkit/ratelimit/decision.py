"""Decision: the answer of the limiter, and all that headers and messages need."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeAlias

from prodkit.errors import RateLimitedError
from prodkit.ratelimit.algorithms import Entry, Log
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


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether the caller may go on.

    `remaining` and `reset_after` are those of the tightest limit, `retry_after` the time until all limits
    would let the same call through (0.0 when it was allowed). `violated` are the limits that refused.
    `source` says who
    counted: ``redis``; ``memory`` (no Redis configured); ``local`` (Redis is away, this process counts
        alone);
    ``outage`` (Redis is away, and a limit says deny or allow).
    """

    allowed: bool
    remaining: int
    retry_after: float
    reset_after: float
    violated: tuple[Limit, ...]
    states: tuple[LimitState, ...]
    source: Source
    cost: int = 1
    grants: list[Grant] = field(default_factory=list[Grant], repr=False, compare=False)

    @property
    def unavailable(self) -> bool:
        """Refused because Redis is away, not because the caller did too much: 503 instead of 429."""
        return not self.allowed and self.source == "outage"

    def raise_if_denied(self) -> None:
        """Raises :class:`~prodkit.RateLimitedError` when the call was refused."""
        if not self.allowed:
            name = self.violated[0].name if self.violated else ""
            raise RateLimitedError(
                f"rate limit {name!r} reached: try again in {self.retry_after:.3f} s",
                retry_after=self.retry_after,
                limit=name,
            )

    def __bool__(self) -> bool:
        raise TypeError("ask decision.allowed: a Decision itself is neither true nor false")


def decide(states: tuple[LimitState, ...], source: Source, cost: int, grants: list[Grant]) -> Decision:
    """The sum of what the limits say."""
    violated = tuple(state.limit for state in states if state.retry_after > 0)
    tightest = min(states, key=lambda state: (state.remaining, -state.reset_after))
    return Decision(
        allowed=not violated,
        remaining=tightest.remaining,
        retry_after=max(state.retry_after for state in states),
        reset_after=tightest.reset_after,
        violated=violated,
        states=states,
        source=source,
        cost=cost,
        grants=grants,
    )
