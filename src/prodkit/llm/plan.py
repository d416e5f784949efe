"""Which model is asked next, and after which wait: pure decisions over the chain of one call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from prodkit.llm.classify import Failure

__all__ = ["GiveUp", "Go", "Hold", "Plan"]


@dataclass(frozen=True, slots=True)
class Hold:
    """How long a model must not be asked, and why: "open", "retry_after", "rate" or ""."""

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
    """No model is left. `retry_after` is when the first of them may be asked again, `late` that time ran out."""

    retry_after: float | None
    late: bool
    reasons: tuple[str, ...]


class Plan:
    """The state of one call: where in the chain it is. It goes forward only.

    A model is left when it has been asked `attempts` times, when its failure says so, when its breaker is open, or
    when the wait for it does not fit: longer than `patience` while another model is left, or beyond the time that
    remains.
    """

    __slots__ = ("_attempts", "_backoff", "_failed", "_index", "_patience", "_size", "_tries", "resting")

    def __init__(self, size: int, *, attempts: int, patience: float, start: int = 0) -> None:
        self._size = size
        self._attempts = attempts
        self._patience = patience
        self._index = start
        self._tries = 0
        self._backoff = 0.0
        self._failed = False
        self.resting: list[Hold] = []

    @property
    def index(self) -> int:
        return self._index

    @property
    def tries(self) -> int:
        """Requests sent to the present model."""
        return self._tries

    def sent(self) -> None:
        """A request goes to the present model."""
        self._tries += 1
        self._backoff = 0.0

    def failed(self, failure: Failure, backoff: float) -> None:
        """The request failed; `backoff` is the wait of the schedule after this many attempts."""
        verdict = failure.verdict
        if not verdict.retry or self._tries >= self._attempts:
            self._leave() if verdict.fall_back else self._end()
        else:
            self._backoff = backoff

    def renewed(self) -> None:
        """New text has arrived since the last failure: the present model has earned its attempts anew."""
        self._tries = min(self._tries, 1)

    def refused(self, hold: Hold) -> None:
        """The present model refused at the last moment."""
        self.resting.append(hold)
        self._leave()

    def refuse_on(self) -> None:
        """The present model would not answer; the next one may."""
        self._leave()

    def _leave(self) -> None:
        self._index += 1
        self._tries = 0
        self._backoff = 0.0

    def _end(self) -> None:
        self._index = self._size

    def step(self, hold_of: Callable[[int], Hold], remaining: float) -> Go | GiveUp:
        """What to do now; `hold_of` is asked for each model that comes into question, `remaining` are the seconds
        that are left."""
        late = False
        while self._index < self._size:
            hold = hold_of(self._index)
            wait = max(self._backoff, hold.seconds)
            last = self._index == self._size - 1
            if hold.reason != "open" and (last or wait <= self._patience):
                if wait < remaining:
                    return Go(self._index, wait, _reason(wait, self._backoff, hold))
                late = True
            if hold.seconds > 0:
                self.resting.append(hold)
            self._leave()
        waits = [hold.seconds for hold in self.resting]
        return GiveUp(min(waits) if waits else None, late, tuple(hold.reason for hold in self.resting))


def _reason(wait: float, backoff: float, hold: Hold) -> str:
    if wait <= 0:
        return ""
    return hold.reason if hold.seconds >= backoff else "backoff"
