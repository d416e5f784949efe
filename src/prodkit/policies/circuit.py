"""The circuit breaker as a state machine: pure and synchronous, it takes ``now`` and says what changed.

Three rules keep it honest:

* Every change of state begins a new **era**, and an outcome counts only in the era that admitted its call: a
  success that comes late closes nothing, a failure from before the recovery opens nothing.
* A half-open circuit lends a limited number of **probes**. A probe that does not come back within
  ``probe_timeout`` loses its place to the next caller, so a call that hangs for ever cannot hold the circuit
  half-open.
* What says nothing about the dependency (a cancelled call, a business error) is **neutral**: it gives its
  probe back and changes no count.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random
from typing import Final, Literal, TypeAlias

from prodkit.policies.window import FAILED, SLOW, CallWindow, TimeWindow, Window

__all__ = ["Change", "Circuit", "Lease", "Rules", "State"]

State: TypeAlias = Literal["closed", "open", "half_open", "isolated", "disabled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """When a circuit opens, for how long, and how it closes again. Refuses nonsense, all of it at once."""

    failures: int | None = 5
    failure_rate: float | None = 0.6
    slow_call_rate: float | None = None
    slow_after: float | None = None
    window_calls: int = 100
    window_seconds: float | None = None
    min_calls: int = 20
    open_for: float = 300.0
    open_growth: float = 1.0
    max_open_for: float = 3600.0
    open_jitter: float = 0.0
    probes: int = 1
    successes: int = 1
    probe_timeout: float | None = None

    def __post_init__(self) -> None:
        problems = [
            f"{name}={getattr(self, name)!r} must be {must}"
            for name, must, holds in self._checks()
            if not holds
        ]
        if (self.slow_call_rate is None) != (self.slow_after is None):
            problems.append("slow_call_rate and slow_after belong together: give both or none")
        if self.failures is None and self.failure_rate is None and self.slow_call_rate is None:
            problems.append(
                "one of failures, failure_rate and slow_call_rate must be given, or nothing opens it"
            )
        if problems:
            raise ValueError("; ".join(problems))

    def _checks(self) -> list[tuple[str, str, bool]]:
        def optional(value: float | None, holds: bool) -> bool:
            return value is None or holds

        finite = math.isfinite
        rates = [
            (name, "between 0 (excluded) and 1, or None", optional(rate, rate is not None and 0 < rate <= 1))
            for name, rate in (("failure_rate", self.failure_rate), ("slow_call_rate", self.slow_call_rate))
        ]
        spans = [
            (
                name,
                "a positive number of seconds, or None",
                optional(s, s is not None and s > 0 and finite(s)),
            )
            for name, s in (
                ("slow_after", self.slow_after),
                ("window_seconds", self.window_seconds),
                ("probe_timeout", self.probe_timeout),
            )
        ]
        return [
            ("failures", "at least 1, or None", optional(self.failures, (self.failures or 0) >= 1)),
            *rates,
            *spans,
            ("window_calls", "at least 1", self.window_calls >= 1),
            (
                "min_calls",
                "at least 1 and at most window_calls",
                self.min_calls >= 1
                and (self.window_seconds is not None or self.min_calls <= self.window_calls),
            ),
            ("open_for", "a positive number of seconds", self.open_for > 0 and finite(self.open_for)),
            ("open_growth", "at least 1", self.open_growth >= 1 and finite(self.open_growth)),
            ("max_open_for", "a positive number of seconds", self.max_open_for > 0),
            ("open_jitter", "between 0 and 1", 0 <= self.open_jitter <= 1),
            ("probes", "at least 1", self.probes >= 1),
            ("successes", "at least 1", self.successes >= 1),
        ]

    def window(self) -> Window | None:
        """A fresh window for these rules; None where only consecutive failures count."""
        if self.failure_rate is None and self.slow_call_rate is None:
            return None
        return (
            CallWindow(self.window_calls) if self.window_seconds is None else TimeWindow(self.window_seconds)
        )

    def hold(self, openings: int, rng: Random) -> float:
        """Seconds to stay open when it opens for the `openings`-th time in a row, counted from 1."""
        longest = max(self.open_for, self.max_open_for)
        try:
            grown = min(longest, self.open_for * self.open_growth ** (openings - 1))
        except OverflowError:
            grown = longest
        return grown * (1 + self.open_jitter * rng.random())

    @property
    def probe_patience(self) -> float:
        """Seconds after which a probe that has not come back loses its place."""
        return self.open_for if self.probe_timeout is None else self.probe_timeout


class Lease:
    """One admitted call: the era that admitted it, and when."""

    __slots__ = ("era", "since")

    def __init__(self, era: int, since: float) -> None:
        self.era = era
        self.since = since


@dataclass(frozen=True, slots=True)
class Change:
    """What a step changed: from which state to which, and why. Open states say for how long."""

    before: State
    after: State
    reason: str
    hold: float | None = None


CLOSED: Final = "closed"
OPEN: Final = "open"
HALF_OPEN: Final = "half_open"
ISOLATED: Final = "isolated"
DISABLED: Final = "disabled"


class Circuit:
    """The state of one breaker. Not locked: its shell sees to that.

    Two fields let a shell take the short way. While ``guarding`` is false every call is admitted, and a fast
    success that ends before ``boundary`` in the era that admitted it may be counted with ``ok += 1``: that
    addition is all that a healthy call costs. And before ``until`` every call is refused.
    """

    __slots__ = (
        "_held",
        "_openings",
        "_probes",
        "_proven",
        "_rng",
        "_run",
        "_state",
        "_window",
        "boundary",
        "era",
        "guarding",
        "ok",
        "reason",
        "rules",
        "until",
    )

    def __init__(self, rules: Rules, rng: Random) -> None:
        self.rules = rules
        self.era = 0
        self.ok = 0
        self.guarding = False
        self.until = -math.inf
        self.reason = ""
        self._rng = rng
        self._state: State = CLOSED
        self._window = rules.window()
        self.boundary = math.inf if self._window is None else self._window.boundary()
        self._run = 0
        self._openings = 0
        self._held = 0.0
        self._probes: dict[Lease, None] = {}
        self._proven = 0

    def state(self, now: float) -> State:
        """The state that a call arriving at `now` meets."""
        return HALF_OPEN if self._state == OPEN and now >= self.until else self._state

    def retry_after(self, now: float) -> float | None:
        """Seconds until a refused caller may be let through; None where only a person decides."""
        if self._state == OPEN:
            return max(0.0, self.until - now)
        if self._state == HALF_OPEN and self._probes:
            return max(0.0, next(iter(self._probes)).since + self.rules.probe_patience - now)
        return None

    # -- one call -------------------------------------------------------------------------------------------
    def admit(self, now: float) -> tuple[Lease | None, Change | None]:
        """Lets a call through, or not (None)."""
        change = None
        if self._state == OPEN and now >= self.until:
            change = self._enter(HALF_OPEN, f"open for {self._held:g} s")
        if self._state == CLOSED or self._state == DISABLED:
            return Lease(self.era, now), change
        if self._state != HALF_OPEN:
            return None, change
        probes = self._probes
        if len(probes) >= self.rules.probes:
            eldest = next(iter(probes))
            if now - eldest.since < self.rules.probe_patience:
                return None, change
            del probes[eldest]  # it hangs; its outcome, should it come, still counts in this era
        lease = Lease(self.era, now)
        probes[lease] = None
        return lease, change

    def succeed(self, lease: Lease, now: float) -> Change | None:
        """The call came back well. It may still have been slow."""
        if lease.era != self.era:
            return None
        slow = self._slow(lease, now)
        if self._state == HALF_OPEN:
            self._probes.pop(lease, None)
            if slow:
                return self._open(now, "a probe was slow")
            self._proven += 1
            return self._enter(CLOSED, "probes succeeded") if self._proven >= self.rules.successes else None
        if self._state != CLOSED:
            return None
        if not slow and now < self.boundary:
            self.ok += 1
            return None
        self._settle()
        self._run = 0
        return self._count(now, SLOW if slow else 0)

    def fail(self, lease: Lease, now: float) -> Change | None:
        """The call failed in a way that counts against the dependency."""
        if lease.era != self.era:
            return None
        if self._state == HALF_OPEN:
            return self._open(now, "a probe failed")
        if self._state != CLOSED:
            return None
        self._settle()
        self._run += 1
        outcome = FAILED | SLOW if self._slow(lease, now) else FAILED
        change = self._count(now, outcome)
        if change is None and self.rules.failures is not None and self._run >= self.rules.failures:
            change = self._open(now, f"{self._run} failures in a row")
        return change

    def forget(self, lease: Lease) -> None:
        """The call said nothing about the dependency: its probe is free for the next caller."""
        self._probes.pop(lease, None)

    # -- by hand --------------------------------------------------------------------------------------------
    def isolate(self) -> Change | None:
        """Refuses every call until :meth:`reset`."""
        return None if self._state == ISOLATED else self._enter(ISOLATED, "isolated by hand")

    def disable(self) -> Change | None:
        """Lets every call through and counts none, until :meth:`reset`."""
        return None if self._state == DISABLED else self._enter(DISABLED, "disabled by hand")

    def reset(self) -> Change | None:
        """Closes the circuit and forgets all counts; calls under way belong to the era that ends here."""
        before = self._state
        change = self._enter(CLOSED, "reset by hand")
        return None if before == CLOSED else change

    def hold_open(self, now: float, seconds: float, reason: str) -> Change | None:
        """Opens the circuit for `seconds`, on the word of somebody else who found the dependency ill."""
        if self._state == ISOLATED or self._state == DISABLED:
            return None
        if self._state == OPEN:
            self.until = max(self.until, now + seconds)
            return None
        return self._enter(OPEN, reason, now, seconds)

    # -- inside ---------------------------------------------------------------------------------------------
    def _slow(self, lease: Lease, now: float) -> bool:
        limit = self.rules.slow_after
        return limit is not None and now - lease.since >= limit

    def _settle(self) -> None:
        """Moves the successes counted since the last look into the window, before anything newer."""
        ok, self.ok = self.ok, 0
        if ok:
            self._run = 0
            if self._window is not None:
                self._window.add_successes(ok)

    def _count(self, now: float, outcome: int) -> Change | None:
        window, rules = self._window, self.rules
        if window is None:
            return None
        window.add(now, outcome)
        self.boundary = window.boundary()
        if outcome == 0 or window.calls < rules.min_calls:
            return None
        calls = window.calls
        if rules.failure_rate is not None and window.failures >= rules.failure_rate * calls:
            return self._open(now, f"{window.failures} of {calls} calls failed")
        if rules.slow_call_rate is not None and window.slow >= rules.slow_call_rate * calls:
            return self._open(now, f"{window.slow} of {calls} calls were slow")
        return None

    def _open(self, now: float, reason: str) -> Change:
        self._openings += 1
        return self._enter(OPEN, reason, now, self.rules.hold(self._openings, self._rng))

    def _enter(self, state: State, reason: str, now: float = 0.0, hold: float | None = None) -> Change:
        before, self._state = self._state, state
        self.era += 1
        self.guarding = state != CLOSED
        self.reason = reason
        self.ok = self._run = self._proven = 0
        self._probes = {}
        self.until = math.inf if state == ISOLATED else -math.inf if hold is None else now + hold
        self._held = hold or 0.0
        if state in (CLOSED, DISABLED):
            self._openings = 0
        if self._window is not None:
            self._window.clear()
            self.boundary = self._window.boundary()
        return Change(before, state, reason, hold)
