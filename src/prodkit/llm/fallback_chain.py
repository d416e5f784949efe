"""The fallback chain of one call, pure: which model is asked next, and after which wait."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from prodkit.llm.failures import Failure

__all__ = ["FallbackChain", "GiveUp", "Go", "Hold"]


@dataclass(frozen=True, slots=True)
class Hold:
    """The time for which a model must not be asked, and why: "open", "retry_after", "rate" or ""."""

    seconds: float = 0.0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Go:
    """Ask model number `index` of the chain after `wait` seconds."""

    index: int
    wait: float
    reason: str


@dataclass(frozen=True, slots=True)
class GiveUp:
    """No model is left.

    `retry_after` is when the first of them may be asked again, `late` that time ran out, `reasons` why each was left.
    """

    retry_after: float | None
    late: bool
    reasons: tuple[str, ...]


class Holding(Protocol):
    """The side of a model's state that the chain asks."""

    def hold(self, need: tuple[float, float, float], now: float, /) -> Hold:
        """Return how long the model must not be asked, and why."""
        ...


@dataclass(slots=True)
class FallbackChain:
    """The position of one call in the chain; it moves forward only.

    A model is left when it has been asked `attempts` times, when its failure says so, when its breaker is open, or
    when the wait for it is longer than its `max_waits` while another model is left, or than the time that remains.

    Args:
        max_waits: the longest wait for each model, in seconds.
        attempts: requests to each model.
        index: the present model.
        tries: requests sent to it; the caller counts them.
        backoff: seconds to wait before the next one.
        held: the refusals of the models that were left.
    """

    max_waits: Sequence[float]
    attempts: int
    index: int = 0
    tries: int = 0
    backoff: float = 0.0
    held: list[Hold] = field(default_factory=list[Hold])

    def failed(self, failure: Failure, backoff: float) -> None:
        """Take in a failed request; `backoff` is the wait of the schedule after this many attempts."""
        verdict = failure.verdict
        if not verdict.retry or self.tries >= self.attempts:
            self.leave() if verdict.fall_back else self.end()
        else:
            self.backoff = backoff

    def progressed(self) -> None:
        """Reset the attempt counter: new text has arrived since the last failure."""
        self.tries = min(self.tries, 1)

    def refused(self, hold: Hold) -> None:
        """Leave the present model, which refused at the last moment."""
        self.held.append(hold)
        self.leave()

    def leave(self, index: int | None = None) -> None:
        """Go on to the next model, or to the later one at `index`."""
        self.index = self.index + 1 if index is None else index
        self.tries = 0
        self.backoff = 0.0

    def end(self) -> None:
        """Leave all models."""
        self.index = len(self.max_waits)

    def step(
        self, states: Sequence[Holding], need: tuple[float, float, float], now: float, remaining: float
    ) -> Go | GiveUp:
        """Return the next step.

        Args:
            states: the models of the chain; those that come into question are asked.
            need: the amounts that the request takes of the rate limits.
            now: the current instant.
            remaining: the seconds that are left for the call.
        """
        late = False
        while self.index < len(self.max_waits):
            hold = states[self.index].hold(need, now)
            wait = max(self.backoff, hold.seconds)
            last = self.index == len(self.max_waits) - 1
            if hold.reason != "open" and (last or wait <= self.max_waits[self.index]):
                if wait < remaining:
                    reason = "" if wait <= 0 else hold.reason if hold.seconds >= self.backoff else "backoff"
                    return Go(self.index, wait, reason)
                late = True
            if hold.seconds > 0:
                self.held.append(hold)
            self.leave()
        waits = [hold.seconds for hold in self.held]
        return GiveUp(min(waits) if waits else None, late, tuple(hold.reason for hold in self.held))
