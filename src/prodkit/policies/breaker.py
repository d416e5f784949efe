"""CircuitBreaker: its options, its state, and what an operator may do with it.

The state machine is ``circuit.py``, admission and outcomes are in ``permit.py``, the guarded forms of functions in
``breaker_shells.py``.
"""

from __future__ import annotations

import dataclasses
import math
import threading
from collections.abc import Callable
from typing import Any, Final, Literal

from prodkit.core.check import CheckResult
from prodkit.core.outcome import Classifier, Outcome
from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.core.validate import Arguments
from prodkit.policies.breaker_shells import BreakerShells
from prodkit.policies.circuit import Circuit, Rules, State
from prodkit.policies.fast_clock import fast_clock_of, thread_clock_of
from prodkit.policies.matching import Errors, matcher
from prodkit.policies.shared_state import SharedState

__all__ = ["BreakerStatistics", "CircuitBreaker"]

_SHARED: Final = ("listen", "opened", "closed", "claim")


@dataclasses.dataclass(frozen=True, slots=True)
class BreakerStatistics:
    """Counts of one breaker.

    Args:
        state: its state now.
        calls: calls in the window.
        failures: failed calls in the window.
        slow: slow calls in the window.
        rejected: calls refused since the breaker was made.
        openings: times that it opened since it was made.
    """

    state: State
    calls: int
    failures: int
    slow: int
    rejected: int
    openings: int


class CircuitBreaker(BreakerShells):
    """Stop calling a failing dependency, and probe it until it recovers.

    ::

        perplexity = CircuitBreaker("perplexity", failures=5, open_for=300)
        answer = await perplexity.run(research, topic)

    It opens after `failures` failures in a row, or when a rate over the window is reached. It then refuses calls with
    :class:`CircuitOpenError`, admits `probes` calls at a time after `open_for` seconds, and closes after `successes` of
    them succeeded.

    The error that opens it reaches its caller unchanged. A cancelled call is neither success nor failure, unless a
    prodkit timer cancelled it. A throttled call (HTTP 429) and a refusal by another policy are never failures. A stream
    is slow if its first item is, and a probe succeeds with it; its error counts whenever it comes. One breaker may be
    shared by tasks and threads.

    Args:
        name: of the dependency, in errors, events and health reports.
        failures: failures in a row that open it; None for no such rule.
        open_for: seconds for which it refuses calls.
        failure_rate: share of failed calls in the window that opens it; None for no such rule.
        slow_call_rate: share of slow calls in the window that opens it; set it together with `slow_after`.
        slow_after: seconds from which on a call is slow.
        window_calls: number of calls that the rates look at.
        window_seconds: look at the calls of the last seconds instead.
        min_calls: calls in the window below which no rate opens it.
        open_growth: factor by which each opening after a failed probe lasts longer; 2 suits many processes.
        max_open_for: longest opening, in seconds.
        open_jitter: share of random time added to an opening, from 0 to 1, so that processes do not probe together.
        probes: calls admitted at a time while half open.
        successes: successful probes that close it.
        probe_timeout: seconds after which a probe that has not come back loses its slot; `open_for` by default.
        on: errors that are failures: classes, a predicate, or a collection of both. The default leaves the decision to
            the classifier; other errors than the named ones are neutral.
        ignore: errors that are neutral, such as business errors.
        failed_result: decides which results are failures.
        classify: decides the outcome of an error, before `on`; None from it leaves the decision to the defaults.
        min_caller_timeout: a caller whose deadline gave the dependency fewer seconds than this proves nothing when the
            deadline passes.
        slow_gap: seconds of waiting for a later item of a stream from which on the stream is slow; None judges the
            first item only. The reader's pauses never count.
        on_outcome: called after each call with its outcome and its error or None, for counters of your own. It puts
            healthy calls on a slower path.
        mode: ``"shadow"`` refuses nothing and only emits what it would have done; ``"disabled"`` does nothing.
        shared: state shared with other processes, such as ``redis.SharedBreakers``.
        runtime: clock, randomness and events.

    Raises:
        CircuitOpenError: the call was not started.
    """

    rank = 40

    name: str
    mode: str
    runtime: Runtime
    rules: Rules
    circuit: Circuit
    """The state machine."""

    def __init__(
        self,
        name: str,
        *,
        failures: int | None = 5,
        open_for: float = 300.0,
        failure_rate: float | None = 0.6,
        slow_call_rate: float | None = None,
        slow_after: float | None = None,
        window_calls: int = 100,
        window_seconds: float | None = None,
        min_calls: int = 20,
        open_growth: float = 1.0,
        max_open_for: float = 3600.0,
        open_jitter: float = 0.0,
        probes: int = 1,
        successes: int = 1,
        probe_timeout: float | None = None,
        on: Errors = Exception,
        ignore: Errors = (),
        failed_result: Callable[[Any], bool] | None = None,
        classify: Classifier | None = None,
        min_caller_timeout: float = 0.5,
        slow_gap: float | None = None,
        on_outcome: Callable[[Outcome, BaseException | None], object] | None = None,
        mode: Literal["guard", "shadow", "disabled"] = "guard",
        shared: SharedState | None = None,
        runtime: Runtime = SYSTEM,
    ) -> None:
        rules: list[Rules] = []

        def make_rules() -> None:
            try:
                rules.append(
                    Rules(
                        failures=failures,
                        failure_rate=failure_rate,
                        slow_call_rate=slow_call_rate,
                        slow_after=slow_after,
                        window_calls=window_calls,
                        window_seconds=window_seconds,
                        min_calls=min_calls,
                        open_for=open_for,
                        open_growth=open_growth,
                        max_open_for=max_open_for,
                        open_jitter=open_jitter,
                        probes=probes,
                        successes=successes,
                        probe_timeout=probe_timeout,
                    )
                )
            except (TypeError, ValueError) as error:
                raise type(error)(str(error).removeprefix("CircuitBreaker: ")) from None

        check = Arguments("CircuitBreaker")
        check.text("name", name)
        check.attempt(make_rules)
        check.attempt(lambda: matcher("on", on))
        check.attempt(lambda: matcher("ignore", ignore))
        check.function("failed_result", failed_result, optional=True)
        check.function("classify", classify, optional=True)
        check.seconds("min_caller_timeout", min_caller_timeout, zero=True)
        check.seconds("slow_gap", slow_gap, optional=True)
        check.function("on_outcome", on_outcome, optional=True)
        check.one_of("mode", mode, ("guard", "shadow", "disabled"))
        if shared is not None and not all(callable(getattr(shared, each, None)) for each in _SHARED):
            check.value("shared must be a SharedBreakers, or have its methods", shared)
        check.instance("runtime", runtime, Runtime, "a Runtime")
        check.done()
        self.name = name
        self.mode = mode
        self.runtime = runtime
        self.rules = rules[0]
        self._shadow = mode == "shadow"
        self._refused = ""
        self._simple = failed_result is None and on_outcome is None
        self._timed = slow_after is not None or window_seconds is not None
        self._counts = None if on is Exception else matcher("on", on)
        self._ignored = matcher("ignore", ignore)
        self._failed_result = failed_result
        self._classify = classify
        self._min_caller_timeout = min_caller_timeout
        self._slow_gap = math.inf if slow_gap is None else slow_gap
        self._on_outcome = on_outcome
        self._now = runtime.clock.monotonic
        self._events = runtime.events
        self._clock = fast_clock_of(runtime.clock)
        self._thread_clock = thread_clock_of(runtime.clock)
        self._lock = threading.Lock()  # held for a few lines, never while a call runs
        self.circuit = Circuit(self.rules, runtime.rng)
        self._shared = shared
        self._rejected = self._openings = 0
        if mode == "disabled":
            self.circuit.disable()
        if shared is not None:
            shared.listen(name, self._opened_elsewhere, self._closed_elsewhere)

    @property
    def state(self) -> State:
        """The state that a call meets now: "closed", "open", "half_open", "isolated" or "disabled"."""
        return self.circuit.state(self._now())

    @property
    def retry_after(self) -> float | None:
        """The seconds until a refused call may be admitted; None while none is refused, or only a person decides."""
        return self.circuit.retry_after(self._now())

    @property
    def statistics(self) -> BreakerStatistics:
        """The counts of the window and since the breaker was made."""
        with self._lock:
            calls, failures, slow = self.circuit.totals()
        return BreakerStatistics(self.state, calls, failures, slow, self._rejected, self._openings)

    def configure(self, **rules: Any) -> None:
        """Change rules while running; the state stays.

        Args:
            rules: fields of :class:`~prodkit.policies.circuit.Rules`, such as ``failures=10``. A rule that needs
                latencies or instants (`slow_after`, `window_seconds`) can be changed but not introduced.

        Raises:
            ValueError: a value is out of range, or would need measurements that this breaker does not make.
        """
        changed = dataclasses.replace(self.rules, **rules)
        if (changed.slow_after is not None or changed.window_seconds is not None) and not self._timed:
            raise ValueError(
                "CircuitBreaker: slow_after and window_seconds cannot be introduced while running: make a new breaker"
            )
        with self._lock:
            self.rules = changed
            self.circuit.configure(changed)

    def isolate(self) -> None:
        """Refuse every call until :meth:`reset`."""
        with self._lock:
            change = self.circuit.isolate()
        self._announce(change)

    def trip(self, seconds: float | None = None) -> None:
        """Open the circuit by hand; it probes and recovers as after failures.

        Args:
            seconds: time for which calls are refused; `open_for` by default, 0 admits a probe at once.
        """
        check = Arguments("CircuitBreaker")
        check.seconds("seconds", seconds, zero=True, optional=True)
        check.done()
        with self._lock:
            held = self.rules.open_for if seconds is None else seconds
            change = self.circuit.hold_open(self._now(), held, "opened by hand")
        self._announce(change)

    def reset(self) -> None:
        """Close the circuit and forget all counts; calls in flight count no more."""
        with self._lock:
            change = self.circuit.reset()
            if self.mode == "disabled":
                self.circuit.disable()
        self._announce(change)

    async def check(self) -> CheckResult:
        """Return ``degraded`` while calls are refused."""
        now = self._now()
        state = self.circuit.state(now)
        details = {"state": state, "retry_after": self.circuit.retry_after(now)}
        if state == "closed" or state == "disabled":
            return CheckResult("up", details=details)
        return CheckResult("degraded", f"circuit {state.replace('_', ' ')}: {self.circuit.reason}", details)

    def _opened_elsewhere(self, seconds: float) -> None:
        with self._lock:
            change = self.circuit.hold_open(self._now(), seconds, "opened by another process")
        self._announce(change, ours=False)

    def _closed_elsewhere(self) -> None:
        with self._lock:
            change = (
                self.circuit.reset() if self.circuit.state(self._now()) in ("open", "half_open") else None
            )
        self._announce(change, ours=False)

    def __repr__(self) -> str:
        return f"CircuitBreaker({self.name!r}, state={self.state!r}, mode={self.mode!r})"
