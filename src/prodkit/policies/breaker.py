"""CircuitBreaker: the shells around :mod:`prodkit.policies.circuit`, async, sync and stream."""

from __future__ import annotations

import asyncio
import math
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from types import CoroutineType
from typing import Any, Final

from prodkit.core.check import CheckResult
from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.errors import CircuitOpenError, DeadlineExceededError, RejectedError
from prodkit.policies.base import AsyncFn, MisuseError, Policy, StreamFn, SyncFn
from prodkit.policies.circuit import Change, Circuit, Lease, Rules, State
from prodkit.policies.deadline_guard import (
    bounded,
    deadline_for,
    ended_by_timer,
    stream_until_deadline,
    within_deadline,
)
from prodkit.policies.events import BreakerChanged, BreakerRejected, change_event
from prodkit.policies.fast_clock import ticks_of
from prodkit.policies.matching import Errors, matcher
from prodkit.policies.permit import Permit
from prodkit.policies.shared_state import SharedState

__all__ = ["CircuitBreaker"]

_NEVER: Final = math.inf
_ONE_AT_A_TIME: Final = getattr(sys, "_is_gil_enabled", lambda: True)()
"""With the GIL no other thread can come between ``era == era`` and ``ok += 1``; without it a lock must."""
_new_error: Final = CircuitOpenError.__new__
_PROBED_ELSEWHERE: Final = "another process probes"


class CircuitBreaker(Policy):
    """Stops calling a dependency that fails, and finds out by single probes when it is back.

    ::

        perplexity = CircuitBreaker("perplexity", failures=5, open_for=300)
        answer = await perplexity.run(research, topic)

    It opens after `failures` failures in a row, or when `failure_rate` of the last `window_calls` calls (or
    of those within `window_seconds`) failed, or when `slow_call_rate` of them took `slow_after` seconds or
    longer; the rates need `min_calls` calls. It then refuses calls for `open_for` seconds with
    :class:`CircuitOpenError`, lets `probes` calls at a time through, and closes after `successes` of them
    came back well. Each opening that follows a failed probe holds `open_growth` times longer, up to
    `max_open_for`, and up to `open_jitter` of that more.

    The error that opens it reaches its caller unchanged. A cancelled call is neither success nor failure,
    unless one of our own timers cancelled it. An error counts when it matches `on` and not `ignore`; a
    refusal by another policy (:class:`RejectedError`) never does, nor does a :class:`DeadlineExceededError`
    of a caller that had given the dependency less than `patience` seconds. `failed_result` names answers
    that are failures.

    ``mode="shadow"`` refuses nothing and only tells what it would have done; ``mode="disabled"`` does
    nothing at all. One breaker may be shared by tasks and threads.
    """

    rank = 40

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
        patience: float = 0.5,
        mode: str = "guard",
        shared: SharedState | None = None,
        runtime: Runtime = SYSTEM,
    ) -> None:
        if mode not in ("guard", "shadow", "disabled"):
            raise ValueError(f'mode must be "guard", "shadow" or "disabled", got {mode!r}')
        if not name or not isinstance(name, str):
            raise ValueError(f"a breaker needs a name, got {name!r}")
        self.name = name
        self.mode = mode
        self.runtime = runtime
        self.rules = Rules(
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
        self._shadow = mode == "shadow"
        self._refused = ""
        self._slow_after = math.inf if slow_after is None else slow_after
        self._short = slow_after is None and window_seconds is None and failed_result is None
        self._counts = matcher("on", on)
        self._ignored = matcher("ignore", ignore)
        self._failed_result = failed_result
        self._patience = patience
        self._now = runtime.clock.monotonic
        self._events = runtime.events
        self._ticks = ticks_of(runtime.clock)
        self._lock = threading.Lock()  # held for a few lines, never while a call runs
        self._circuit = Circuit(self.rules, runtime.rng)
        self._shared = shared
        if mode == "disabled":
            self._circuit.disable()
        if shared is not None:
            shared.listen(name, self._opened_elsewhere, self._closed_elsewhere)

    # -- what others ask ------------------------------------------------------------------------------------
    @property
    def state(self) -> State:
        """What a call that comes now meets: "closed", "open", "half_open", "isolated" or "disabled"."""
        return self._circuit.state(self._now())

    def isolate(self) -> None:
        """Refuses every call until :meth:`reset`."""
        with self._lock:
            change = self._circuit.isolate()
        self._tell(change)

    def reset(self) -> None:
        """Closes the circuit and forgets what was counted; calls under way count no more."""
        with self._lock:
            change = self._circuit.reset()
            if self.mode == "disabled":
                self._circuit.disable()
        self._tell(change)

    async def check(self) -> CheckResult:
        """``degraded`` while calls are refused."""
        now = self._now()
        state = self._circuit.state(now)
        details = {"state": state, "retry_after": self._circuit.retry_after(now)}
        if state == "closed" or state == "disabled":
            return CheckResult("up", details=details)
        return CheckResult("degraded", f"circuit {state.replace('_', ' ')}: {self._circuit.reason}", details)

    def acquire(self) -> Permit:
        """A permit for one call, or :class:`CircuitOpenError`. For streams and shells; prefer ``run``."""
        return Permit(self, self._admit())

    async def admit(self) -> Permit:
        """:meth:`acquire` for code that can wait: a probe is also asked of the other processes."""
        lease = self._admit()
        if self._shared is not None and self._circuit.state(lease.since) == "half_open":
            await self._claim(self._shared, lease)
        return Permit(self, lease)

    # -- the shells -----------------------------------------------------------------------------------------
    def wrap(self, fn: AsyncFn) -> AsyncFn:
        return bounded(self._wrap_short(fn) if self._short else self._wrap_timed(fn))

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
        circuit, ticks, deadline = self._circuit, self._ticks, deadline_for(fn)
        slow_after, failed_result = self._slow_after, self._failed_result

        async def guarded(*args: Any, **kwargs: Any) -> Any:
            if circuit.guarding:
                return await self._long_way(self._admit(), fn, args, kwargs)
            era = circuit.era
            now = ticks()
            start = now()
            try:
                if deadline() == _NEVER:
                    result = await fn(*args, **kwargs)
                else:
                    result = await within_deadline(fn, args, kwargs)
            except BaseException as error:
                self._raised(Lease(era, start), error)
                raise
            if failed_result is None and circuit.era == era:
                end = now()
                if end < circuit.boundary and end - start < slow_after:
                    circuit.ok += 1
                    return result
            self._judged(Lease(era, start), result)
            return result

        return guarded

    async def _long_way(
        self, lease: Lease, fn: AsyncFn, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """A call of a circuit that is not simply closed: a probe, or one let through without counting."""
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
        circuit, ticks = self._circuit, self._ticks
        long, lock = not self._short, None if _ONE_AT_A_TIME else self._lock

        def guarded(*args: Any, **kwargs: Any) -> Any:
            if circuit.guarding or long:
                lease = self._admit() if circuit.guarding else Lease(circuit.era, ticks()())
                return self._long_way_sync(lease, fn, args, kwargs)
            era = circuit.era
            try:
                result = fn(*args, **kwargs)
            except BaseException as error:
                self._raised(Lease(era, 0.0), error)
                raise
            if type(result) is CoroutineType:
                return self.resume(fn, result, args, kwargs)
            if lock is not None:
                self._judged(Lease(era, 0.0), result)
            elif circuit.era == era:
                circuit.ok += 1
            return result

        return guarded

    def _long_way_sync(self, lease: Lease, fn: SyncFn, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        try:
            result = fn(*args, **kwargs)
        except BaseException as error:
            self._raised(lease, error)
            raise
        if type(result) is CoroutineType:
            self._forgotten(lease)  # what counts is how the coroutine ends
            return self.resume(fn, result, args, kwargs)
        self._judged(lease, result)
        return result

    def wrap_stream(self, fn: StreamFn) -> StreamFn:
        fn = stream_until_deadline(fn)

        async def guarded(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            permit = self.acquire()
            begun = False
            try:
                async with aclosing(fn(*args, **kwargs)) as items:  # type: ignore[type-var]
                    async for item in items:
                        begun = True
                        yield item
                permit.succeed()
            except GeneratorExit:
                if begun:
                    permit.succeed()  # it answered; the reader had enough
                raise
            except BaseException as error:
                permit.fail(error)
                raise
            finally:
                permit.cancel()

        return bounded(guarded)

    # -- settling -------------------------------------------------------------------------------------------
    def _admit(self) -> Lease:
        now = self._ticks()()
        circuit = self._circuit
        if (wait := circuit.until - now) > 0 and not self._shadow:
            raise self._refusal(now, wait)
        with self._lock:
            lease, change = circuit.admit(now)
        if change is not None:
            self._tell(change)
        if lease is not None:
            return lease
        refusal = self._refusal(now, circuit.retry_after(now))
        if self._shadow:
            return Lease(-1, now)  # of no era: its outcome counts nowhere
        raise refusal

    def _refusal(self, now: float, wait: float | None) -> CircuitOpenError:
        if (events := self._events).listened(BreakerRejected):
            state = self._circuit.state(now)
            events.emit(BreakerRejected(breaker=self.name, state=state, shadow=self._shadow))
        # CircuitOpenError(...) without its three calls: a refusal has to cost less than what it spares
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
        if change is not None:
            self._tell(change)

    def _failed(self, lease: Lease) -> None:
        now = self._now()
        with self._lock:
            change = self._circuit.fail(lease, now)
        if change is not None:
            self._tell(change)

    def _forgotten(self, lease: Lease) -> None:
        with self._lock:
            self._circuit.forget(lease)

    def _raised(self, lease: Lease, error: BaseException) -> None:
        if self._is_failure(error):
            self._failed(lease)
        else:
            self._forgotten(lease)

    def _is_failure(self, error: BaseException) -> bool:
        if not isinstance(error, Exception):
            return isinstance(error, asyncio.CancelledError) and ended_by_timer(error)
        if isinstance(error, (RejectedError, MisuseError)):
            return False
        if (
            isinstance(error, DeadlineExceededError)
            and error.timeout is not None
            and error.timeout < self._patience
        ):
            return False
        return self._counts(error) and not self._ignored(error)

    # -- other processes ------------------------------------------------------------------------------------
    async def _claim(self, shared: SharedState, lease: Lease) -> None:
        circuit = self._circuit
        try:
            wait = await shared.claim(self.name, self.rules.probe_patience)
        except BaseException:
            self._forgotten(lease)
            raise
        if wait is not None:
            now = self._now()
            with self._lock:
                change = circuit.hold_open(now, wait, _PROBED_ELSEWHERE)
            self._tell(change)
            refusal = self._refusal(now, wait)
            if not self._shadow:
                raise refusal

    def _opened_elsewhere(self, seconds: float) -> None:
        with self._lock:
            change = self._circuit.hold_open(self._now(), seconds, "opened by another process")
        self._tell(change, ours=False)

    def _closed_elsewhere(self) -> None:
        with self._lock:
            change = (
                self._circuit.reset() if self._circuit.state(self._now()) in ("open", "half_open") else None
            )
        self._tell(change, ours=False)

    def _tell(self, change: Change | None, *, ours: bool = True) -> None:
        if change is None:
            return
        why = "its probes are under way" if change.after == "half_open" else change.reason
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
