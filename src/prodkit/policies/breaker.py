"""CircuitBreaker: the shells around :mod:`prodkit.policies.circuit`, async, sync and stream."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeAlias

from prodkit.core.check import CheckResult
from prodkit.core.events import Event
from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.errors import CircuitOpenError, DeadlineExceededError, RejectedError
from prodkit.policies.base import AsyncFn, Policy, StreamFn, SyncFn
from prodkit.policies.circuit import Change, Circuit, Lease, Rules, State
from prodkit.policies.timeout import bounded, ended_by_timer, until_deadline

__all__ = [
    "BreakerChanged",
    "BreakerClosed",
    "BreakerHalfOpened",
    "BreakerIsolated",
    "BreakerOpened",
    "BreakerRejected",
    "CircuitBreaker",
    "Errors",
    "Permit",
    "SharedState",
]

Errors: TypeAlias = type[BaseException] | tuple[type[BaseException], ...] | Callable[[Exception], bool]
"""Which errors are meant: a class, some classes, or a predicate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerChanged(Event):
    """A breaker changed its state."""

    name: ClassVar[str] = "breaker.changed"
    breaker: str
    before: State
    after: State
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerOpened(BreakerChanged):
    """… and spares its dependency for `hold` seconds."""

    name: ClassVar[str] = "breaker.opened"
    hold: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerHalfOpened(BreakerChanged):
    """… and sends a probe."""

    name: ClassVar[str] = "breaker.half_opened"


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerClosed(BreakerChanged):
    """… and lets every call through."""

    name: ClassVar[str] = "breaker.closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerIsolated(BreakerChanged):
    """… and refuses every call until somebody resets it."""

    name: ClassVar[str] = "breaker.isolated"


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerRejected(Event):
    """A call was refused; in shadow mode (`shadow` is true) it would have been."""

    name: ClassVar[str] = "breaker.rejected"
    breaker: str
    state: State
    shadow: bool


class SharedState(Protocol):
    """What several processes tell each other about one dependency. Nothing is asked while a circuit is
    closed.

    The three plain methods return at once and never raise: an implementation that talks to a network does so
    in the background. :meth:`claim` alone is awaited, once per probe.
    """

    def listen(self, breaker: str, opened: Callable[[float], None], closed: Callable[[], None]) -> None:
        """Calls ``opened(seconds)`` and ``closed()`` when another process opened or closed `breaker`."""
        ...

    def opened(self, breaker: str, seconds: float) -> None:
        """Tells the others that `breaker` opened here and stays open for `seconds`."""
        ...

    def closed(self, breaker: str) -> None:
        """Tells the others that a probe of `breaker` succeeded here."""
        ...

    async def claim(self, breaker: str, seconds: float) -> float | None:
        """Asks to be the one process that probes, for `seconds`.

        Returns None when the probe is ours, also when the others cannot be asked; else the seconds until it
        is worth asking again.
        """
        ...


class Permit:
    """One admitted call, for code that a callable cannot wrap: settle it exactly once.

    Of ``succeed()``, ``fail(error)`` and ``cancel()`` the first one counts; the others then do nothing, so
    ``cancel()`` in a ``finally`` is a safe last line.
    """

    __slots__ = ("_breaker", "_lease")

    def __init__(self, breaker: CircuitBreaker, lease: Lease | None) -> None:
        self._breaker = breaker
        self._lease = lease

    def succeed(self) -> None:
        """The dependency answered."""
        if (lease := self._take()) is not None:
            self._breaker._succeeded(lease)

    def fail(self, error: BaseException | None = None) -> None:
        """The call failed; an `error` that would not count in ``run`` is neutral here too."""
        if (lease := self._take()) is not None:
            if error is None:
                self._breaker._failed(lease)
            else:
                self._breaker._raised(lease, error)

    def cancel(self) -> None:
        """The call ended without saying anything about the dependency."""
        if (lease := self._take()) is not None:
            self._breaker._forgotten(lease)

    def _take(self) -> Lease | None:
        lease, self._lease = self._lease, None
        return lease


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
        self._counts = matcher("on", on)
        self._ignored = matcher("ignore", ignore)
        self._failed_result = failed_result
        self._patience = patience
        self._now = runtime.clock.monotonic
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

    # -- the shells -----------------------------------------------------------------------------------------
    def wrap(self, fn: AsyncFn) -> AsyncFn:
        circuit, admit, now = self._circuit, self._admit, self._now
        attempt = until_deadline(fn)
        if self.rules.slow_after is not None or self.rules.window_seconds is not None or self._failed_result:
            return bounded(self._wrap_timed(attempt))

        async def guarded(*args: Any, **kwargs: Any) -> Any:
            lease = None
            if circuit.guarding:
                lease = admit()
                if self._shared is not None:
                    await self._claim(lease)
            era = circuit.era
            try:
                result = await attempt(*args, **kwargs)
            except BaseException as error:
                self._raised(lease or Lease(era, now()), error)
                raise
            if lease is not None:
                self._succeeded(lease)
            elif circuit.era == era:
                circuit.ok += 1
            return result

        return bounded(guarded)

    def _wrap_timed(self, fn: AsyncFn) -> AsyncFn:
        circuit, now, failed_result = self._circuit, self._now, self._failed_result

        async def guarded(*args: Any, **kwargs: Any) -> Any:
            lease = self._admit() if circuit.guarding else Lease(circuit.era, now())
            if self._shared is not None and circuit.guarding:
                await self._claim(lease)
            try:
                result = await fn(*args, **kwargs)
            except BaseException as error:
                self._raised(lease, error)
                raise
            if failed_result is not None and failed_result(result):
                self._failed(lease)
            else:
                self._succeeded(lease)
            return result

        return guarded

    def wrap_sync(self, fn: SyncFn) -> SyncFn:
        circuit, now, failed_result = self._circuit, self._now, self._failed_result

        def guarded(*args: Any, **kwargs: Any) -> Any:
            lease = Lease(circuit.era, now())
            if circuit.guarding:
                lease = self._admit()
            try:
                result = fn(*args, **kwargs)
            except BaseException as error:
                self._raised(lease, error)
                raise
            if failed_result is not None and failed_result(result):
                self._failed(lease)
            else:
                self._succeeded(lease)
            return result

        return guarded

    def wrap_stream(self, fn: StreamFn) -> StreamFn:
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

        return guarded

    # -- settling -------------------------------------------------------------------------------------------
    def _admit(self) -> Lease:
        now = self._now()
        with self._lock:
            lease, change = self._circuit.admit(now)
        if change is not None:
            self._tell(change)
        if lease is None:
            return self._refuse(now)
        return lease

    def _refuse(self, now: float) -> Lease:
        circuit, shadow = self._circuit, self.mode == "shadow"
        if (events := self.runtime.events).listened:
            events.emit(BreakerRejected(breaker=self.name, state=circuit.state(now), shadow=shadow))
        if shadow:
            return Lease(-1, now)  # of no era: its outcome counts nowhere
        raise CircuitOpenError(
            f"circuit {self.name!r} is open: {circuit.reason}",
            retry_after=circuit.retry_after(now),
            breaker=self.name,
        )

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
        if isinstance(error, RejectedError):
            return False
        if (
            isinstance(error, DeadlineExceededError)
            and error.timeout is not None
            and error.timeout < self._patience
        ):
            return False
        return self._counts(error) and not self._ignored(error)

    # -- other processes ------------------------------------------------------------------------------------
    async def _claim(self, lease: Lease) -> None:
        circuit, shared = self._circuit, self._shared
        if shared is None or circuit.state(lease.since) != "half_open":
            return
        try:
            wait = await shared.claim(self.name, self.rules.probe_patience)
        except BaseException:
            self._forgotten(lease)
            raise
        if wait is not None:
            now = self._now()
            with self._lock:
                change = circuit.hold_open(now, wait, "another process probes")
            self._tell(change)
            self._refuse(now)

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
        if ours and self._shared is not None:
            if (
                change.after == "open"
                and change.hold is not None
                and change.reason != "another process probes"
            ):
                self._shared.opened(self.name, change.hold)
            elif change.after == "closed":
                self._shared.closed(self.name)
        if (events := self.runtime.events).listened:
            events.emit(_event(self.name, change))

    def __repr__(self) -> str:
        return f"CircuitBreaker({self.name!r}, state={self.state!r}, mode={self.mode!r})"


_KINDS = {"half_open": BreakerHalfOpened, "closed": BreakerClosed, "isolated": BreakerIsolated}


def _event(breaker: str, change: Change) -> Event:
    if change.hold is not None:
        return BreakerOpened(
            breaker=breaker, before=change.before, after=change.after, reason=change.reason, hold=change.hold
        )
    kind = _KINDS.get(change.after, BreakerChanged)
    return kind(breaker=breaker, before=change.before, after=change.after, reason=change.reason)


def matcher(option: str, errors: Any) -> Callable[[Exception], bool]:
    """A predicate for `errors`: a class, a tuple of classes, or a predicate already."""
    classes = errors if isinstance(errors, tuple) else (errors,)
    if all(isinstance(each, type) and issubclass(each, BaseException) for each in classes):
        return lambda error: isinstance(error, classes)
    if isinstance(errors, (tuple, type)) or not callable(errors):
        raise TypeError(f"{option} takes exception classes or a predicate, got {errors!r}")
    return lambda error: bool(errors(error))
