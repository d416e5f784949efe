"""Admission to a breaker, and the permit for one admitted call::

Admission.admit  ->  Circuit.admit              a permit, or CircuitOpenError
Permit.prove     ->  Circuit.prove              the first item of a stream: a probe gives its slot back
Permit.succeed   ->  Circuit.succeed            a healthy answer; it may still have been slow
Permit.fail      ->  _outcome -> Circuit.fail   classify, on, ignore: a failure, a throttled or a neutral call
                     Change -> event, shared state of other processes
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from prodkit.core.events import EventStream
from prodkit.core.outcome import Classifier, Outcome
from prodkit.errors import CircuitOpenError, DeadlineExceededError, RejectedError
from prodkit.policies.base import MisuseError, Policy
from prodkit.policies.circuit import Change, Circuit, Lease, Rules
from prodkit.policies.classify import outcome_of
from prodkit.policies.events import BreakerChanged, BreakerRejected, change_event
from prodkit.policies.fast_clock import FastClock
from prodkit.policies.shared_state import SharedState
from prodkit.policies.switch import is_off

__all__ = ["Admission", "Permit"]

_NEVER: Final = math.inf
_new_error: Final = CircuitOpenError.__new__
_PROBED_ELSEWHERE: Final = "another process probes"


@dataclass(slots=True, eq=False)
class Permit:
    """One admitted call, for code that no callable can wrap: settle it exactly once.

    Of ``succeed()``, ``fail(error)`` and ``cancel()`` the first one counts; the others then do nothing, so ``cancel()``
    in a ``finally`` is a safe last line.

    Args:
        breaker: the breaker that admitted the call.
        lease: its admission; None once the permit is settled.
    """

    breaker: Admission
    lease: Lease | None

    def prove(self) -> None:
        """Record the first item of a stream: its latency, and the success of a probe, which holds no slot from now on.

        Settle the permit at the end of the stream as ever: an error after the first item is still a failure.
        """
        if self.lease is not None:
            self.breaker._proven(self.lease)

    def succeed(self) -> None:
        """Record that the dependency answered."""
        lease, self.lease = self.lease, None
        if lease is not None:
            self.breaker._succeeded(lease)

    def fail(self, error: BaseException | None = None) -> None:
        """Record that the call failed; an `error` that would not count in ``run`` is neutral here too."""
        lease, self.lease = self.lease, None
        if lease is None:
            return
        if error is None:
            self.breaker._failed(lease)
        else:
            self.breaker._raised(lease, error)

    def cancel(self) -> None:
        """Record that the call ended without saying anything about the dependency."""
        lease, self.lease = self.lease, None
        if lease is not None:
            self.breaker._forgotten(lease)


class Admission(Policy):
    """The side of a circuit breaker that admits calls and counts their outcomes; its lock is held for a few lines."""

    name: str
    mode: str
    rules: Rules
    circuit: Circuit
    _shadow: bool
    _refused: str
    _rejected: int
    _openings: int
    _lock: threading.Lock
    _now: FastClock
    _clock: Callable[[], FastClock]
    _events: EventStream
    _shared: SharedState | None
    _classify: Classifier | None
    _counts: Callable[[BaseException], bool] | None
    _ignored: Callable[[BaseException], bool]
    _failed_result: Callable[[Any], bool] | None
    _min_caller_timeout: float
    _on_outcome: Callable[[Outcome, BaseException | None], object] | None

    def acquire(self) -> Permit:
        """Return a permit for one call, or raise :class:`CircuitOpenError`: for shells; prefer ``run`` or ``with``."""
        return Permit(self, self._admit())

    async def admit(self) -> Permit:
        """Return a permit like :meth:`acquire`, after asking the other processes for the right to probe."""
        lease = self._admit()
        if self._shared is not None and self.circuit.state(lease.since) == "half_open":
            await self._claim(self._shared, lease)
        return Permit(self, lease)

    def _admit(self) -> Lease:
        now = self._clock()()
        circuit = self.circuit
        if (wait := circuit.until - now) > 0 and not self._shadow and not is_off(self.runtime):
            raise self._refusal(now, wait)
        with self._lock:
            lease, change = circuit.admit(now)
        if change is not None:
            self._announce(change)
        if lease is not None:
            return lease
        if is_off(self.runtime):
            return Lease(-1, now)
        if self._shadow:
            self._refusal(now, circuit.retry_after(now))
            return Lease(-1, now)  # of no era: its outcome counts nowhere
        raise self._refusal(now, circuit.retry_after(now))

    def _refusal(self, now: float, wait: float | None) -> CircuitOpenError:
        """Count and emit a refusal, and return its error. A caller keeps it in no variable: that would be a cycle."""
        self._rejected += 1
        # The dictionary of `listened` first: its call would be a tenth of a refusal.
        if (events := self._events)._wanted.get(BreakerRejected, True) and events.listened(BreakerRejected):
            state = self.circuit.state(now)
            events.emit(BreakerRejected(breaker=self.name, state=state, shadow=self._shadow))
        # CircuitOpenError(...) without its three calls: a refusal has to cost less than the call it replaces
        error = _new_error(CircuitOpenError, self._refused)
        error.retry_after = None if wait == _NEVER else wait
        error.breaker = self.name
        return error

    def _judged(self, lease: Lease, result: Any) -> None:
        try:
            failed = self._failed_result is not None and self._failed_result(result)
        except BaseException:
            self._forgotten(lease)
            raise
        if failed:
            self._failed(lease)
        else:
            self._succeeded(lease)

    def _succeeded(self, lease: Lease) -> None:
        now = self._now()
        with self._lock:
            change = self.circuit.succeed(lease, now)
        if change is not None:
            self._announce(change)
        if self._on_outcome is not None:
            self._report(Outcome.OK)

    def _proven(self, lease: Lease) -> None:
        now = self._now()
        lease.took = now - lease.since
        if self.circuit.guarding and not is_off(self.runtime):
            with self._lock:
                change = self.circuit.prove(lease, now)
            self._announce(change)

    def _failed(self, lease: Lease, error: BaseException | None = None) -> None:
        if is_off(self.runtime):
            self._forgotten(lease)
            return
        now = self._now()
        with self._lock:
            change = self.circuit.fail(lease, now)
        if change is not None:
            self._announce(change)
        self._report(Outcome.FAILED, error)

    def _forgotten(self, lease: Lease) -> None:
        with self._lock:
            self.circuit.forget(lease)

    def _raised(self, lease: Lease, error: BaseException) -> None:
        try:
            outcome = self._outcome(error)
        except BaseException:
            self._forgotten(lease)  # a probe whose classifier raised holds no slot
            raise
        if outcome is Outcome.FAILED:
            self._failed(lease, error)
        elif outcome is Outcome.OK:
            self._succeeded(lease)
        else:
            self._forgotten(lease)
            self._report(outcome, error)

    def _report(self, outcome: Outcome, error: BaseException | None = None) -> None:
        """Call `on_outcome`, which cannot break the call that it counts."""
        if self._on_outcome is not None:
            try:
                self._on_outcome(outcome, error)
            except Exception:  # noqa: BLE001 - counted, as an exception of a subscriber is
                self._events.failures += 1

    def _outcome(self, error: BaseException) -> Outcome:
        """Return the outcome of a call that raised `error`, by this breaker's arguments and the defaults."""
        if not isinstance(error, Exception):
            return outcome_of(error)
        if isinstance(error, (RejectedError, MisuseError)):
            return Outcome.NEUTRAL
        if self._classify is not None and (own := self._classify(error)) is not None:
            return Outcome(own)
        if (
            isinstance(error, DeadlineExceededError)
            and error.timeout is not None
            and error.timeout < self._min_caller_timeout
        ) or self._ignored(error):
            return Outcome.NEUTRAL
        if self._counts is None:
            return outcome_of(error)
        if not self._counts(error):
            return Outcome.NEUTRAL
        return Outcome.THROTTLED if outcome_of(error) is Outcome.THROTTLED else Outcome.FAILED

    async def _claim(self, shared: SharedState, lease: Lease) -> None:
        """Ask the other processes for the right to probe; raise the refusal if another one probes."""
        circuit = self.circuit
        try:
            wait = await shared.claim(self.name, self.rules.probe_limit)
        except BaseException:
            self._forgotten(lease)
            raise
        if wait is not None:
            now = self._now()
            with self._lock:
                change = circuit.hold_open(now, wait, _PROBED_ELSEWHERE)
            self._announce(change)
            if not self._shadow:
                raise self._refusal(now, wait)
            self._refusal(now, wait)

    def _announce(self, change: Change | None, *, ours: bool = True) -> None:
        """Emit `change`, and share it with the other processes if it happened here."""
        if change is None:
            return
        self._openings += change.after == "open"
        why = "its probes are in flight" if change.after == "half_open" else change.reason
        self._refused = f"circuit {self.name!r} is {change.after.replace('_', ' ')}: {why}"
        if ours and self._shared is not None:
            if change.after == "open" and change.hold is not None and change.reason != _PROBED_ELSEWHERE:
                self._shared.opened(self.name, change.hold)
            elif change.after == "closed":
                self._shared.closed(self.name)
        if (events := self._events).listened(BreakerChanged):
            events.emit(change_event(self.name, change))
