"""CircuitBreaker: the async, sync, stream and block shells around :mod:`prodkit.policies.circuit`.

::

    run -> wrap -> guarded      closed: one comparison and `ok += 1`
             |                  not closed: _admit -> Circuit.admit -> Lease, or CircuitOpenError
             `- error: _raised -> _outcome (classify, on, ignore) -> Circuit.fail | forget -> Change -> event
"""

from __future__ import annotations

import dataclasses
import math
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, closing
from types import CoroutineType
from typing import Any, Final, Literal

from prodkit.core.check import CheckResult
from prodkit.core.outcome import Classifier, Outcome
from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.core.validate import Arguments
from prodkit.errors import CircuitOpenError, DeadlineExceededError, RejectedError
from prodkit.policies.base import AsyncFn, MisuseError, Policy, StreamFn, SyncFn
from prodkit.policies.block import Scope
from prodkit.policies.circuit import Change, Circuit, Lease, Rules, State
from prodkit.policies.classify import outcome_of
from prodkit.policies.deadline_guard import bounded, deadline_for, stream_until_deadline, within_deadline
from prodkit.policies.events import BreakerChanged, BreakerRejected, change_event
from prodkit.policies.fast_clock import fast_clock_of, thread_clock_of
from prodkit.policies.matching import Errors, matcher
from prodkit.policies.permit import Permit
from prodkit.policies.shared_state import SharedState
from prodkit.policies.switch import OFF, is_off

__all__ = ["BreakerStatistics", "CircuitBreaker"]

_NEVER: Final = math.inf
_ONE_AT_A_TIME: Final = getattr(sys, "_is_gil_enabled", lambda: True)()
"""With the GIL no other thread can come between ``era == era`` and ``ok += 1``; without it a lock must."""
_new_error: Final = CircuitOpenError.__new__
_PROBED_ELSEWHERE: Final = "another process probes"


def _no_time() -> float:
    """Return 0.0: the clock of a breaker that measures nothing."""
    return 0.0


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


class CircuitBreaker(Policy):
    """Stop calling a failing dependency, and probe it until it recovers.

    ::

        perplexity = CircuitBreaker("perplexity", failures=5, open_for=300)
        answer = await perplexity.run(research, topic)

    It opens after `failures` failures in a row, or when a rate over the window is reached. It then refuses calls with
    :class:`CircuitOpenError`, admits `probes` calls at a time after `open_for` seconds, and closes after `successes` of
    them succeeded.

    The error that opens it reaches its caller unchanged. A cancelled call is neither success nor failure, unless a
    prodkit timer cancelled it. A throttled call (HTTP 429) and a refusal by another policy are never failures. A stream
    is slow if its first item is; its error counts whenever it comes. One breaker may be shared by tasks and threads.

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
        self._circuit = Circuit(self.rules, runtime.rng)
        self._shared = shared
        self._rejected = self._openings = 0
        if mode == "disabled":
            self._circuit.disable()
        if shared is not None:
            shared.listen(name, self._opened_elsewhere, self._closed_elsewhere)

    @property
    def state(self) -> State:
        """The state that a call meets now: "closed", "open", "half_open", "isolated" or "disabled"."""
        return self._circuit.state(self._now())

    @property
    def retry_after(self) -> float | None:
        """The seconds until a refused call may be admitted; None while none is refused, or only a person decides."""
        return self._circuit.retry_after(self._now())

    @property
    def statistics(self) -> BreakerStatistics:
        """The counts of the window and since the breaker was made."""
        with self._lock:
            calls, failures, slow = self._circuit.totals()
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
            self._circuit.configure(changed)

    def isolate(self) -> None:
        """Refuse every call until :meth:`reset`."""
        with self._lock:
            change = self._circuit.isolate()
        self._announce(change)

    def trip(self, seconds: float | None = None) -> None:
        """Open the circuit by hand; it probes and recovers as after failures.

        Args:
            seconds: time for which calls are refused; `open_for` by default, 0 admits a probe at once.
        """
        with self._lock:
            held = self.rules.open_for if seconds is None else seconds
            change = self._circuit.hold_open(self._now(), held, "opened by hand")
        self._announce(change)

    def reset(self) -> None:
        """Close the circuit and forget all counts; calls in flight count no more."""
        with self._lock:
            change = self._circuit.reset()
            if self.mode == "disabled":
                self._circuit.disable()
        self._announce(change)

    async def check(self) -> CheckResult:
        """Return ``degraded`` while calls are refused."""
        now = self._now()
        state = self._circuit.state(now)
        details = {"state": state, "retry_after": self._circuit.retry_after(now)}
        if state == "closed" or state == "disabled":
            return CheckResult("up", details=details)
        return CheckResult("degraded", f"circuit {state.replace('_', ' ')}: {self._circuit.reason}", details)

    def acquire(self) -> Permit:
        """Return a permit for one call, or raise :class:`CircuitOpenError`: for shells; prefer ``run`` or ``with``."""
        return Permit(self, self._admit())

    async def admit(self) -> Permit:
        """Return a permit like :meth:`acquire`, after asking the other processes for the right to probe."""
        lease = self._admit()
        if self._shared is not None and self._circuit.state(lease.since) == "half_open":
            await self._claim(self._shared, lease)
        return Permit(self, lease)

    def scope(self) -> Scope:
        """Return a guard for one block."""
        return _BreakerScope(self)

    def wrap(self, fn: AsyncFn) -> AsyncFn:
        """Return the guarded form of the async function `fn`."""
        return bounded(self._wrap_timed(fn) if self._timed or not self._simple else self._wrap_short(fn))

    def _wrap_short(self, fn: AsyncFn) -> AsyncFn:
        circuit, deadline = self._circuit, deadline_for(fn)

        async def guarded(*args: Any, **kwargs: Any) -> Any:
            if circuit.guarding:
                return await self._long_way(self._admit(), fn, args, kwargs)
            era = circuit.era
            try:
                if deadline() == _NEVER:
                    result = await fn(*args, **kwargs)
                else:
                    result = await within_deadline(fn, args, kwargs)
            except BaseException as error:
                self._raised(Lease(era, 0.0), error)
                raise
            if circuit.era == era:
                circuit.ok += 1
            return result

        return guarded

    def _wrap_timed(self, fn: AsyncFn) -> AsyncFn:
        circuit, clock, deadline, simple = self._circuit, self._clock, deadline_for(fn), self._simple

        async def guarded(*args: Any, **kwargs: Any) -> Any:
            if circuit.guarding:
                return await self._long_way(self._admit(), fn, args, kwargs)
            era = circuit.era
            now = clock()
            start = now()
            try:
                if deadline() == _NEVER:
                    result = await fn(*args, **kwargs)
                else:
                    result = await within_deadline(fn, args, kwargs)
            except BaseException as error:
                self._raised(Lease(era, start), error)
                raise
            if simple and circuit.era == era:
                end = now()
                if end < circuit.boundary and end - start < circuit.slow_after:
                    circuit.ok += 1
                    return result
            self._judged(Lease(era, start), result)
            return result

        return guarded

    async def _long_way(
        self, lease: Lease, fn: AsyncFn, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Run a call of a circuit that is not simply closed: a probe, or one admitted without counting."""
        if self._shared is not None and self._circuit.state(lease.since) == "half_open":
            await self._claim(self._shared, lease)
        try:
            result = await within_deadline(fn, args, kwargs)
        except BaseException as error:
            self._raised(lease, error)
            raise
        self._judged(lease, result)
        return result

    def wrap_sync(self, fn: SyncFn) -> SyncFn:
        """Return the guarded form of the plain function `fn`."""
        circuit, clock = self._circuit, self._thread_clock
        timed, simple = self._timed, self._simple and _ONE_AT_A_TIME

        def guarded(*args: Any, **kwargs: Any) -> Any:
            if circuit.guarding:
                return self._long_way_sync(self._admit(), fn, args, kwargs)
            era = circuit.era
            now = clock() if timed else _no_time
            start = now()
            try:
                result = fn(*args, **kwargs)
            except BaseException as error:
                self._raised(Lease(era, start), error)
                raise
            if type(result) is CoroutineType:
                return self.resume(fn, result, args, kwargs)
            if simple and circuit.era == era:
                if not timed:
                    circuit.ok += 1
                    return result
                end = now()
                if end < circuit.boundary and end - start < circuit.slow_after:
                    circuit.ok += 1
                    return result
            self._judged(Lease(era, start), result)
            return result

        return guarded

    def _long_way_sync(self, lease: Lease, fn: SyncFn, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        try:
            result = fn(*args, **kwargs)
        except BaseException as error:
            self._raised(lease, error)
            raise
        if type(result) is CoroutineType:
            self._forgotten(lease)  # the end of the coroutine counts
            return self.resume(fn, result, args, kwargs)
        self._judged(lease, result)
        return result

    def wrap_stream(self, fn: StreamFn) -> StreamFn:
        """Return the guarded form of the async generator function `fn`."""
        fn = stream_until_deadline(fn)

        async def guarded(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            permit = await self.admit()
            watch = _StreamWatch(self, permit)
            try:
                async with aclosing(fn(*args, **kwargs)) as items:  # type: ignore[type-var]
                    async for item in items:
                        watch.arrived()
                        yield item
                        watch.asked()
                permit.succeed()
            except GeneratorExit:
                if watch.begun:
                    permit.succeed()  # it answered; the reader had enough
                raise
            except BaseException as error:
                permit.fail(error)
                raise
            finally:
                permit.cancel()

        return bounded(guarded)

    def wrap_generator(self, fn: SyncFn) -> SyncFn:
        """Return the guarded form of the generator function `fn`."""

        def guarded(*args: Any, **kwargs: Any) -> Iterator[Any]:
            permit = self.acquire()
            watch = _StreamWatch(self, permit)
            try:
                with closing(fn(*args, **kwargs)) as items:
                    for item in items:
                        watch.arrived()
                        yield item
                        watch.asked()
                permit.succeed()
            except GeneratorExit:
                if watch.begun:
                    permit.succeed()
                raise
            except BaseException as error:
                permit.fail(error)
                raise
            finally:
                permit.cancel()

        return guarded

    def _admit(self) -> Lease:
        now = self._clock()()
        circuit = self._circuit
        if (wait := circuit.until - now) > 0 and not self._shadow and not OFF[0]:
            raise self._refusal(now, wait)
        with self._lock:
            lease, change = circuit.admit(now)
        if change is not None:
            self._announce(change)
        if lease is not None:
            return lease
        if is_off():
            return Lease(-1, now)
        refusal = self._refusal(now, circuit.retry_after(now))
        if self._shadow:
            return Lease(-1, now)  # of no era: its outcome counts nowhere
        raise refusal

    def _refusal(self, now: float, wait: float | None) -> CircuitOpenError:
        self._rejected += 1
        if (events := self._events).listened(BreakerRejected):
            state = self._circuit.state(now)
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
            change = self._circuit.succeed(lease, now)
        if self._on_outcome is not None:
            self._on_outcome(Outcome.OK, None)
        if change is not None:
            self._announce(change)

    def _failed(self, lease: Lease, error: BaseException | None = None) -> None:
        if is_off():
            self._forgotten(lease)
            return
        now = self._now()
        with self._lock:
            change = self._circuit.fail(lease, now)
        if self._on_outcome is not None:
            self._on_outcome(Outcome.FAILED, error)
        if change is not None:
            self._announce(change)

    def _forgotten(self, lease: Lease) -> None:
        with self._lock:
            self._circuit.forget(lease)

    def _raised(self, lease: Lease, error: BaseException) -> None:
        outcome = self._outcome(error)
        if outcome is Outcome.FAILED:
            self._failed(lease, error)
        elif outcome is Outcome.OK:
            self._succeeded(lease)
        else:
            self._forgotten(lease)
            if self._on_outcome is not None:
                self._on_outcome(outcome, error)

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
        circuit = self._circuit
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
            refusal = self._refusal(now, wait)
            if not self._shadow:
                raise refusal

    def _opened_elsewhere(self, seconds: float) -> None:
        with self._lock:
            change = self._circuit.hold_open(self._now(), seconds, "opened by another process")
        self._announce(change, ours=False)

    def _closed_elsewhere(self) -> None:
        with self._lock:
            change = (
                self._circuit.reset() if self._circuit.state(self._now()) in ("open", "half_open") else None
            )
        self._announce(change, ours=False)

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

    def __repr__(self) -> str:
        return f"CircuitBreaker({self.name!r}, state={self.state!r}, mode={self.mode!r})"


class _StreamWatch:
    """Measures a stream: the wait for its first item, and for each later one where a gap may be slow."""

    __slots__ = ("_breaker", "_lease", "_now", "_since", "begun")

    def __init__(self, breaker: CircuitBreaker, permit: Permit) -> None:
        self._breaker = breaker
        self._lease = permit.lease
        self._now = breaker._thread_clock()
        self._since = self._now()
        self.begun: bool = False

    def arrived(self) -> None:
        """Record an item."""
        if self.begun and self._breaker._slow_gap == math.inf:
            return
        waited = self._now() - self._since
        lease = self._lease
        if not self.begun:
            self.begun = True
            if lease is not None:
                lease.took = waited
        elif lease is not None and waited >= self._breaker._slow_gap:
            lease.took = math.inf

    def asked(self) -> None:
        """Record that the reader wants the next item: its pause is over."""
        if self._breaker._slow_gap != math.inf:
            self._since = self._now()


class _BreakerScope(Scope):
    __slots__ = ("_breaker", "_permit")

    _permit: Permit

    def __init__(self, breaker: CircuitBreaker) -> None:
        self._breaker = breaker

    async def enter(self) -> None:
        self._permit = await self._breaker.admit()

    def enter_sync(self) -> None:
        self._permit = self._breaker.acquire()

    def leave(self, error: BaseException | None) -> None:
        if error is None:
            self._permit.succeed()
        else:
            self._permit.fail(error)
