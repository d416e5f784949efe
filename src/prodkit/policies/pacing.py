"""Pacing: the rate at which a throttled dependency may be asked. Pure, it takes ``now``.

After the first refusal calls go one by one, at a share of the rate seen before. Each further refusal cuts the rate; it
then climbs back along a cubic curve that is flat around the rate last refused and steep away from it (the idea of TCP
CUBIC, RFC 9438 §4.2), so that a quota is found again soon and then touched rarely::

    rate
      |                               ..·   probing above the plateau
      |         _ _ _ _ _ _ _ ....····      target: the rate last refused
      |      .·´
      |    .´   plateau seconds
      |  cut
      +------------------------------------ t
"""

from __future__ import annotations

import math

__all__ = ["Pacing"]


class Pacing:
    """The instants at which calls may go. Rates are calls per second.

    Free until the first throttling, which sets the rate to `start` of what was asked in the last seconds. Each further
    one, at most once in `quiet` seconds, multiplies it by `cut`; `plateau` seconds after the silence it is back at the
    rate that was refused, and rises above it if nothing is refused. It is free again at three times the rate first
    seen, but only while no caller waits: a queue is released at the rate to its end.
    """

    __slots__ = (
        "_asked", "_asked_before", "_ceiling", "_cut_at", "_epoch", "_since", "_slot", "_target", "not_before", "rate",
    )  # fmt: skip

    start: float = 0.5
    cut: float = 0.85
    quiet: float = 0.5
    plateau: float = 3.0
    span: float = 5.0  # seconds over which the rate asked is counted

    _ceiling: float  # these three begin with the first throttling
    _epoch: float
    _target: float

    def __init__(self) -> None:
        self.not_before: float = -math.inf
        self.rate: float | None = None
        self._slot = -math.inf
        self._cut_at = -math.inf
        self._since = -math.inf
        self._asked = self._asked_before = 0

    def next(self, now: float) -> float:
        """Return the earliest instant at which a call that asks at `now` may go."""
        return max(now, self.not_before, now if self.rate is None else self._slot)

    def turn(self, now: float, ahead: int) -> float:
        """Return about when a caller that asks at `now` with `ahead` others before it may go."""
        return self.next(now) + (0.0 if self.rate is None else ahead / self.rate)

    def reserve(self, at: float) -> None:
        """Record that a call goes at the instant `at`."""
        if at - self._since > self.span:
            self._asked_before = self._asked if at - self._since <= 2 * self.span else 0
            self._asked = 0
            self._since = at
        self._asked += 1
        if self.rate is not None:
            self._slot = at + 1.0 / self.rate

    def give_back(self) -> None:
        """Record that the call reserved last did not go."""
        if self.rate is not None:
            self._slot -= 1.0 / self.rate

    def throttled(self, now: float, seconds: float) -> None:
        """Record at `now` that the dependency asked for `seconds` of silence."""
        self.not_before = max(self.not_before, now + seconds)
        if now - self._cut_at < self.quiet:
            return
        self._cut_at = now
        if self.rate is None:
            span = max(1.0, now - self._since) + (self.span if self._asked_before else 0.0)
            asked = (self._asked_before + self._asked) / span
            self.rate = self._target = max(1.0, asked * self.start)
            self._ceiling = max(2.0, asked * 3)
            self._epoch = self.not_before - self.plateau  # begins on the flat part
        else:
            # Refused below the last target: the quota has shrunk, so aim lower at once.
            self._target = self.rate if self.rate >= self._target else self.rate * (1 + self.cut) / 2
            self.rate = max(0.1, self.rate * self.cut)
            self._epoch = self.not_before

    def succeeded(self, now: float, waiting: int = 0) -> None:
        """Record at `now` that a call succeeded while `waiting` others queue.

        While others queue, the rate at most doubles with one success, so that a first answer that comes late does not
        release them at the rate that the curve has reached since.
        """
        if self.rate is None:
            return
        away = (now - self._epoch) / self.plateau - 1.0
        curve = self._target * (1 + (1 - self.cut) * away**3)
        self.rate = max(self.rate, min(curve, 2 * self.rate) if waiting else curve)
        if self.rate > self._ceiling and not waiting:
            self.rate = None
