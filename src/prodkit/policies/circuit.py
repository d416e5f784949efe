"""The circuit breaker as a state machine: pure and synchronous, it takes ``now`` and returns what changed.

Three rules keep it honest:

* Every change of state begins a new **era**, and an outcome counts only in the era that admitted its call: a
  success that comes late closes nothing, a failure from before the recovery opens nothing.
* A half-open circuit lends a limited number of **probes**. A probe that does not come back within
  ``probe_timeout`` loses its place to the next caller, so a call that hangs for ever cannot hold the circuit
  half-open.
* An outcome that says nothing about the dependency (a cancelled call, a business error) is **neutral**: it gives its
  probe back and changes no count.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random
from typing import Final, Literal, TypeAlias

from prodkit.core.validate import Arguments
from prodkit.policies.window import FAILED, SLOW, CallWindow, TimeWindow, Window

__all__ = ["Change", "Circuit", "Lease", "Rules", "State"]

State: TypeAlias = Literal["closed", "open", "half_open", "isolated", "disabled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The rules by which a circuit opens, stays open and closes again; all bad values are reported in one error.

    The fields are the parameters of :class:`~prodkit.policies.CircuitBreaker` of the same names.
    """

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
        check = Arguments("CircuitBreaker")
        check.integer("failures", self.failures, minimum=1, optional=True)
        for name in ("failure_rate", "slow_call_rate"):
            check.number(name, getattr(self, name), above=0, maximum=1, optional=True)
        for name in ("slow_after", "window_seconds", "probe_timeout"):
            check.seconds(name, getattr(self, name), optional=True)
        check.integer("window_calls", self.window_calls, minimum=1)
        counted = self.window_seconds is None and isinstance(self.window_calls, int)
        check.integer("min_calls", self.min_calls, minimum=1, maximum=self.window_calls if counted else None)
        check.seconds("open_for", self.open_for)
        check.number("open_growth", self.open_growth, minimum=1)
        check.number("max_open_for", self.max_open_for, above=0, infinite=True, unit="seconds")
        check.number("open_jitter", self.open_jitter, minimum=0, maximum=1)
        check.integer("probes", self.probes, minimum=1)
        check.integer("successes", self.successes, minimum=1)
        check.that(
            (self.slow_call_rate is None) == (self.slow_after is None),
            "slow_call_rate and slow_after belong together: give both or none",
        )
        check.that(
            any(each is not None for each in (self.failures, self.failure_rate, self.slow_call_rate)),
            "one of failures, failure_rate and slow_call_rate must be given, or nothing opens it",
        )
        check.done()

    def window(self) -> Window | None:
        """Return a new window for these rules; None where only consecutive failures count."""
        if self.failure_rate is None and self.slow_call_rate is None:
            return None
        return (
            CallWindow(self.window_calls) if self.window_seconds is None else TimeWindow(self.window_seconds)
        )

    def hold(self, openings: int, rng: Random) -> float:
        """Return the seconds to stay open when it opens for the `openings`-th time in a row, counted from 1."""
        longest = max(self.open_for, self.max_open_for)
        try:
            grown = min(longest, self.open_for * self.open_growth ** (openings - 1))
        except OverflowError:
            grown = longest
        return grown * (1 + self.open_jitter * rng.random())

    @property
    def probe_limit(self) -> float:
        """Seconds after which a probe that has not come back loses its slot."""
        return self.open_for if self.probe_timeout is None else self.probe_timeout


@dataclass(slots=True, eq=False)
class Lease:
    """One admitted call: its era, the instant of its admission, and `took`, its latency if that is not its length.

    A stream is judged by the wait for its first item, not by its length, which includes the pauses of its reader. A
    probe whose first item came is `proven`: its success is counted, and only a failure still is.
    """

    era: int
    since: float
    took: float | None = None
    proven: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """A change of state and its reason; `hold` is the seconds for which an open state lasts."""

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
    """The state of one breaker. Not locked: the shell holds a lock.

    Two fields let a shell take the short path. While ``guarding`` is false every call is admitted, and a fast
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
        "slow_after",
        "until",
    )

    def __init__(self, rules: Rules, rng: Random) -> None:
        self.rules: Rules = rules
        self.slow_after: float = math.inf if rules.slow_after is None else rules.slow_after
        self.era: int = 0
        self.ok: int = 0
        self.guarding: bool = False
        self.until: float = -math.inf
        self.reason: str = ""
        self._rng = rng
        self._state: State = CLOSED
        self._window = rules.window()
        self.boundary: float = math.inf if self._window is None else self._window.boundary()
        self._run = 0
        self._openings = 0
        self._held = 0.0
        self._probes: dict[Lease, None] = {}
        self._proven = 0

    def state(self, now: float) -> State:
        """Return the state that a call arriving at `now` meets."""
        return HALF_OPEN if self._state == OPEN and now >= self.until else self._state

    def retry_after(self, now: float) -> float | None:
        """Return the seconds until a refused caller may be admitted; None where only a person decides."""
        if self._state == OPEN:
            return max(0.0, self.until - now)
        if self._state == HALF_OPEN and self._probes:
            return max(0.0, next(iter(self._probes)).since + self.rules.probe_limit - now)
        return None

    def admit(self, now: float) -> tuple[Lease | None, Change | None]:
        """Admit a call at `now` and return its lease; None refuses it."""
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
            if now - eldest.since < self.rules.probe_limit:
                return None, change
            del probes[eldest]  # it hangs; its outcome, should it come, still counts in this era
        lease = Lease(self.era, now)
        probes[lease] = None
        return lease, change

    def succeed(self, lease: Lease, now: float) -> Change | None:
        """Record a success at `now`; it may still have been slow."""
        if lease.era != self.era:
            return None
        slow = self._slow(lease, now)
        if lease.proven and not slow:
            return None
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

    def prove(self, lease: Lease, now: float) -> Change | None:
        """Record the first item of a stream at `now`: it settles a probe, so that a long stream holds no slot.

        The stream goes on in the era that this item leads to: an error that comes later is a failure there.
        """
        if lease.era != self.era or self._state != HALF_OPEN:
            return None
        change = self.succeed(lease, now)
        lease.era, lease.proven = self.era, True
        return change

    def fail(self, lease: Lease, now: float) -> Change | None:
        """Record a failure at `now` that counts against the dependency."""
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
        """Record a neutral outcome: its probe is free for the next caller."""
        self._probes.pop(lease, None)

    def totals(self) -> tuple[int, int, int]:
        """Return calls, failures and slow calls in the window."""
        self._settle()
        window = self._window
        return (0, 0, 0) if window is None else (window.calls, window.failures, window.slow)

    def configure(self, rules: Rules) -> None:
        """Go on under `rules`. The state stays; the window begins again where its size changes."""
        before, self.rules = self.rules, rules
        self.slow_after = _infinite(rules.slow_after)
        after = rules.window()
        same = before.window_calls == rules.window_calls and before.window_seconds == rules.window_seconds
        if not same or (after is None) != (self._window is None):
            self._settle()
            self._window = after
            self.boundary = math.inf if after is None else after.boundary()

    def isolate(self) -> Change | None:
        """Refuse every call until :meth:`reset`."""
        return None if self._state == ISOLATED else self._enter(ISOLATED, "isolated by hand")

    def disable(self) -> Change | None:
        """Admit every call and count none, until :meth:`reset`."""
        return None if self._state == DISABLED else self._enter(DISABLED, "disabled by hand")

    def reset(self) -> Change | None:
        """Close the circuit and forget all counts; calls in flight belong to the era that ends here."""
        before = self._state
        change = self._enter(CLOSED, "reset by hand")
        return None if before == CLOSED else change

    def hold_open(self, now: float, seconds: float, reason: str) -> Change | None:
        """Open the circuit for `seconds` because another process found the dependency failing."""
        if self._state == ISOLATED or self._state == DISABLED:
            return None
        if self._state == OPEN:
            self.until = max(self.until, now + seconds)
            return None
        return self._enter(OPEN, reason, now, seconds)

    def _slow(self, lease: Lease, now: float) -> bool:
        limit = self.rules.slow_after
        return limit is not None and (now - lease.since if lease.took is None else lease.took) >= limit

    def _settle(self) -> None:
        """Move the successes counted since the last look into the window, before anything newer."""
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


def _infinite(seconds: float | None) -> float:
    return math.inf if seconds is None else seconds
