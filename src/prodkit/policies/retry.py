"""Retry: tries again what failed by bad luck. The only importer of tenacity, once something failed."""

from __future__ import annotations

import math
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from contextvars import ContextVar
from copy import copy
from dataclasses import dataclass
from types import CodeType, CoroutineType
from typing import Any, ClassVar, Final, Protocol, Self, TypeVar

from prodkit.core.deadline import Deadline
from prodkit.core.events import Event, Metric
from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.errors import DeadlineExceededError, InvalidError, MissingExtraError, RejectedError
from prodkit.policies.backoff import Backoff, full_jitter
from prodkit.policies.base import INVOKERS, AsyncFn, MisuseError, Policy, StreamFn, SyncFn, name_of
from prodkit.policies.breaker import Errors, matcher
from prodkit.policies.fast_clock import ticks_of
from prodkit.policies.gate import retry_after_of
from prodkit.policies.timeout import bounded, deadline_for, stream_until_deadline, within_deadline

__all__ = ["Budget", "Retry", "RetryGaveUp", "RetryScheduled", "non_idempotent"]

F = TypeVar("F", bound=Callable[..., Any])

_NEVER: Final = math.inf

NEVER_RETRIED = (RejectedError, DeadlineExceededError, InvalidError, MissingExtraError, MisuseError)
"""Trying again cannot help, or is not wanted: unless `on` names one of them."""

NEVER_SENT = (RejectedError, ConnectionRefusedError, socket.gaierror)
"""After these nothing can have happened on the other side, so even a non-idempotent call may be repeated."""


class Budget(Protocol):
    """What pays for further attempts; :class:`prodkit.policies.RetryBudget` is one."""

    def deposit(self) -> None:
        """A call came back well."""
        ...

    def price(self, error: BaseException | None) -> float:
        """The tokens that one more attempt after `error` costs; None for a hedge."""
        ...

    def withdraw(self, error: BaseException | None) -> bool:
        """Pays that price; False when there is not enough."""
        ...

    def refund(self, tokens: float) -> None:
        """Gives back what was paid for an attempt that was not made."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryScheduled(Event):
    """Attempt `attempt` failed with an `error` of this class; the next one starts in `wait` seconds."""

    name: ClassVar[str] = "retry.scheduled"
    level = "INFO"
    metric = Metric("retries", labels=("call", "error"), help="Attempts after the first.")
    call: str
    attempt: int
    error: str
    wait: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryGaveUp(Event):
    """The error of attempt `attempt` went to the caller, because of `reason`."""

    name: ClassVar[str] = "retry.gave_up"
    level = "WARNING"
    metric = Metric(
        "retries_exhausted", labels=("call", "reason"), help="Calls that failed after their last attempt."
    )
    call: str
    attempt: int
    error: str
    reason: str


class Retry(Policy):
    """Calls again what failed, up to `attempts` calls in all.

    ::

        answer = await Retry(attempts=3, on=(ConnectionError, TimeoutError)).run(fetch, url)

    `on` says which errors are worth it: exception classes, a predicate, or a tenacity ``retry`` strategy.
    Rejections (an open breaker, a full bulkhead), refused input and a passed deadline are not, unless `on`
    names them; what is no :class:`Exception`, a cancellation above all, never is. `result` names answers to
    try again after; the last one is returned. `wait` is a :mod:`~prodkit.policies.backoff`, a number of
    seconds or a tenacity ``wait``; `stop` a tenacity ``stop`` that ends the attempts too. An error with
    ``retry_after`` is waited for at least that long; when that is more than `max_wait`, or the wait would
    pass the :class:`~prodkit.Deadline`, the error goes to the caller at once. `budget` pays for each further
    attempt.

    The last error reaches the caller as it is, with a note that says how often and how long. Of nested
    retries only the outermost one repeats, unless an inner one says ``nested=True``. With
    ``idempotent=False``, or on a function marked :func:`non_idempotent`, only calls that cannot have been
    sent are repeated. An async generator is repeated only until its first item.
    """

    rank = 30

    def __init__(
        self,
        attempts: int | None = 3,
        *,
        on: Any = Exception,
        result: Callable[[Any], bool] | None = None,
        wait: Any = None,
        stop: Any = None,
        budget: Budget | None = None,
        idempotent: bool = True,
        max_wait: float = 60.0,
        nested: bool = False,
        runtime: Runtime = SYSTEM,
    ) -> None:
        problems: list[str] = []
        if attempts is None and stop is None:
            problems.append("attempts=None needs a stop strategy, or it never ends")
        if attempts is not None and (attempts < 1):
            problems.append(f"attempts={attempts!r} must be an integer of at least 1: the first one counts")
        if not max_wait >= 0:
            problems.append(f"max_wait={max_wait!r} must be 0 or more seconds")
        if isinstance(wait, (int, float)) and not 0 <= wait < math.inf:
            problems.append(f"wait={wait!r} must be a finite number of seconds, 0 or more")
        elif wait is not None and not isinstance(wait, (int, float)) and not callable(wait):
            problems.append(
                f"wait={wait!r} must be a backoff, a number of seconds or a tenacity wait strategy"
            )
        if stop is not None and not callable(stop):
            problems.append(f"stop={stop!r} must be a tenacity stop strategy")
        if problems:
            raise ValueError("; ".join(problems))
        self.attempts = attempts
        self.idempotent = idempotent
        self.max_wait = max_wait
        self.nested = nested
        self.runtime = runtime
        self._budget = budget
        self._result = result
        self._stop = stop
        self._wait: Any = wait if wait is not None else full_jitter()
        self._strategy = on if _from_tenacity(on, "retry_base") else None
        self._on: Errors = Exception if self._strategy is not None else on
        self._matches = matcher("on", self._on)
        self._refused = _never_retried(self._on)
        self._judged = result is not None or self._strategy is not None
        tenacious = self._strategy is not None or _from_tenacity(self._wait, "wait_base")
        self._exact = stop is not None or tenacious  # these may ask when the first attempt began
        self._ticks = ticks_of(runtime.clock)

    def adopt(self, runtime: Runtime) -> Self:
        if self.runtime is not SYSTEM:
            return self
        adopted = copy(self)
        for built in ("_run", "_call", "_stream"):
            adopted.__dict__.pop(built, None)
        adopted.runtime = runtime
        adopted._ticks = ticks_of(runtime.clock)
        return adopted

    # -- the shells -----------------------------------------------------------------------------------------
    def wrap(self, fn: AsyncFn) -> AsyncFn:
        deadline, ticks = deadline_for(fn), self._ticks
        deposit = None if self._budget is None else self._budget.deposit
        judged, exact = self._judged, self._exact

        async def retried(*args: Any, **kwargs: Any) -> Any:
            course = None
            start = ticks()() if exact else None
            try:
                while True:
                    try:
                        if deadline() == _NEVER:
                            result = await fn(*args, **kwargs)
                        else:
                            result = await within_deadline(fn, args, kwargs)
                    except Exception as error:
                        course = course or _Course(self, fn, args, start)
                        if (pause := course.after(error)) is None:
                            raise
                    else:
                        if judged:
                            course = course or _Course(self, fn, args, start)
                            if (pause := course.judge(result)) is not None:
                                await course.rest(pause)
                                continue
                        if deposit is not None:
                            deposit()
                        return result
                    await course.rest(pause)
            finally:
                if course is not None:
                    course.over()

        _RETRYING.add(retried.__code__)
        return bounded(retried)

    def wrap_sync(self, fn: SyncFn) -> SyncFn:
        block, ticks = self.runtime.clock.block, self._ticks
        deposit = None if self._budget is None else self._budget.deposit
        judged, exact = self._judged, self._exact

        def retried(*args: Any, **kwargs: Any) -> Any:
            course = None
            start = ticks()() if exact else None
            try:
                while True:
                    try:
                        result = fn(*args, **kwargs)
                    except Exception as error:
                        course = course or _Course(self, fn, args, start)
                        if (pause := course.after(error)) is None:
                            raise
                    else:
                        if type(result) is CoroutineType:
                            return self.resume(fn, result, args, kwargs)
                        if judged:
                            course = course or _Course(self, fn, args, start)
                            if (pause := course.judge(result)) is not None:
                                block(pause)
                                continue
                        if deposit is not None:
                            deposit()
                        return result
                    block(pause)
            finally:
                if course is not None:
                    course.over()

        _RETRYING.add(retried.__code__)
        return retried

    def wrap_stream(self, fn: StreamFn) -> StreamFn:
        fn = stream_until_deadline(fn)

        async def retried(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            course = None
            while True:
                begun = False
                try:
                    async with aclosing(fn(*args, **kwargs)) as items:  # type: ignore[type-var]
                        async for item in items:
                            begun = True
                            yield item
                except Exception as error:
                    course = course or _Course(self, fn, args, None, mark=False)
                    if begun or (pause := course.after(error)) is None:
                        raise
                else:
                    if self._budget is not None:
                        self._budget.deposit()
                    return
                await course.rest(pause)

        _RETRYING.add(retried.__code__)
        return bounded(retried)

    def __repr__(self) -> str:
        return f"Retry(attempts={self.attempts!r})"


_RETRYING: set[CodeType] = set()
"""The code of the shells above: by it a retry that failed finds out that it runs inside another one."""

_outer: ContextVar[_Course | None] = ContextVar("prodkit_retry", default=None)
"""The retry that is repeating the call in which we are, for tasks that it starts."""


def _under_another(depth: int) -> bool:
    """Whether a frame further out belongs to a retry: looked at after a failure only, so a success pays
    nothing.

    The frames of an await chain hang together within one task. A task started by a repeated attempt sees the
    ContextVar instead.
    """
    course = _outer.get()
    if course is not None and course.live:
        return True
    frame = sys._getframe(depth).f_back
    while frame is not None:
        if frame.f_code in _RETRYING:
            return True
        frame = frame.f_back
    return False


class _Course:
    """What one failing call has been through: decides after each attempt. Keeps no error."""

    __slots__ = (
        "_args",
        "_attempt",
        "_fn",
        "_idle",
        "_last",
        "_nested",
        "_paid",
        "_retry",
        "_since",
        "_start",
        "_token",
        "live",
    )

    def __init__(
        self,
        retry: Retry,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        start: float | None,
        *,
        mark: bool = True,
    ) -> None:
        self._retry = retry
        self._fn = fn
        self._args = args
        self._start = start
        self._since = retry.runtime.clock.monotonic()
        self._attempt = 1
        self._idle = 0.0
        self._last = 0.0
        self._paid = 0.0
        self._nested = not retry.nested and _under_another(2)
        self.live = True
        self._token = _outer.set(self) if mark and not self._nested else None

    def over(self) -> None:
        """The call is over, whichever way."""
        self.live = False
        if self._token is not None:
            _outer.reset(self._token)

    def after(self, error: Exception) -> float | None:
        """Seconds until the next attempt; None when the error goes to the caller."""
        if self._nested:
            return None
        now = self._retry.runtime.clock.monotonic()
        reason, pause = self._decide(error, None, now)
        if (events := self._retry.runtime.events).listened(RetryScheduled if reason is None else RetryGaveUp):
            kind = type(error).__name__
            events.emit(
                RetryScheduled(call=self._name(), attempt=self._attempt, error=kind, wait=pause)
                if reason is None
                else RetryGaveUp(call=self._name(), attempt=self._attempt, error=kind, reason=reason)
            )
        if reason is None:
            return self._next(pause)
        if self._attempt > 1 or reason not in ("not worth it", "attempts"):
            _note(error, self._told(now), reason)
        return None

    async def rest(self, pause: float) -> None:
        """Waits; who is cancelled meanwhile gets back what it paid for the attempt that it does not make."""
        try:
            await self._retry.runtime.clock.sleep(pause)
        except BaseException:
            if self._retry._budget is not None:
                self._retry._budget.refund(self._paid)
            raise

    def _told(self, now: float) -> str:
        if self._attempt == 1:
            return "gave up after 1 attempt"
        often = f"gave up after {self._attempt} attempts"
        if self._start is not None:
            return f"{often} in {now - self._start:.1f} s"
        return f"{often}, {now - self._since:.1f} s after the first failed"

    def judge(self, result: Any) -> float | None:
        """Seconds until the next attempt when `result` is one to try again after; else None."""
        retry = self._retry
        if self._nested or (retry._strategy is None and not (retry._result and retry._result(result))):
            return None
        reason, pause = self._decide(None, result, retry.runtime.clock.monotonic())
        return None if reason is not None else self._next(pause)

    def _next(self, pause: float) -> float:
        self._attempt += 1
        self._idle += pause
        self._last = pause
        return pause

    def _decide(self, error: Exception | None, result: Any, now: float) -> tuple[str | None, float]:
        retry = self._retry
        state = self._state(error, result, now)
        if not self._wanted(error, result, state):
            return "not worth it", 0.0
        if retry.attempts is not None and self._attempt >= retry.attempts:
            return "attempts", 0.0
        if error is not None and not self._repeatable(error):
            return "not idempotent", 0.0
        if retry._stop is not None and retry._stop(state):
            return "stop", 0.0
        pause = self._pause(state)
        hint = None if error is None else retry_after_of(error, retry.runtime.clock.now())
        if hint is not None and hint > pause:
            pause = hint
            if pause > retry.max_wait:
                return "retry_after beyond max_wait", 0.0
        if now + pause >= Deadline.instant():
            return "deadline", 0.0
        if (budget := retry._budget) is not None:
            self._paid = budget.price(error)
            if not budget.withdraw(error):
                return "budget", 0.0
        return None, pause

    def _wanted(self, error: Exception | None, result: Any, state: Any) -> bool:
        retry = self._retry
        if error is not None:
            if isinstance(error, retry._refused):
                return False
            return bool(retry._strategy(state)) if retry._strategy is not None else retry._matches(error)
        if retry._result is not None and retry._result(result):
            return True
        return retry._strategy is not None and bool(retry._strategy(state))

    def _repeatable(self, error: Exception) -> bool:
        marked = any(getattr(fn, "_prodkit_non_idempotent", False) for fn in self._layers())
        if self._retry.idempotent and not marked:
            return True
        return isinstance(error, NEVER_SENT) or getattr(error, "sent", None) is False

    def _layers(self) -> Iterator[Callable[..., Any]]:
        """The guarded callable and what it wraps, down to the one that the caller meant."""
        fn: Any = self._fn
        while fn is not None:
            yield fn
            if fn in INVOKERS and self._args:
                fn = self._args[0]
            else:
                fn = getattr(fn, "__wrapped__", None) or getattr(fn, "func", None)

    def _pause(self, state: Any) -> float:
        wait = self._retry._wait
        if isinstance(wait, (int, float)):
            return float(wait)
        if _from_tenacity(wait, "wait_base"):
            return float(wait(state))
        backoff: Backoff = wait
        return backoff(self._attempt, self._retry.runtime.rng, self._last)

    def _state(self, error: Exception | None, result: Any, now: float) -> Any:
        """What tenacity's strategies look at, on our clock."""
        import tenacity

        state = tenacity.RetryCallState(tenacity.Retrying(), self._fn, self._args, {})
        state.attempt_number = self._attempt
        state.idle_for = self._idle
        if error is not None:
            state.set_exception((type(error), error, None))
        else:
            state.set_result(result)
        state.start_time = self._since if self._start is None else self._start
        state.outcome_timestamp = now
        return state

    def _name(self) -> str:
        *_, innermost = self._layers()
        return name_of(innermost)


def non_idempotent(fn: F) -> F:
    """Marks a function whose second call might do harm (a payment, a message): see :class:`Retry`."""
    fn._prodkit_non_idempotent = True  # type: ignore[attr-defined]
    return fn


def _never_retried(on: Errors) -> tuple[type[Exception], ...]:
    """The classes of :data:`NEVER_RETRIED` that `on` does not name; an ``on`` of Exception names none of
    them.
    """
    named = on if isinstance(on, tuple) else (on,)
    classes = tuple(each for each in named if isinstance(each, type))
    return tuple(
        refused for refused in NEVER_RETRIED if not any(issubclass(each, refused) for each in classes)
    )


def _from_tenacity(strategy: object, base: str) -> bool:
    module = sys.modules.get(
        f"tenacity.{base.removesuffix('_base')}"
    )  # where it has not been imported, none is
    return module is not None and isinstance(strategy, getattr(module, base))


def _note(error: Exception, told: str, reason: str) -> None:
    if any(note.startswith("gave up after") for note in getattr(error, "__notes__", ())):
        return  # the same error object once more
    error.add_note(told if reason == "attempts" else f"{told} ({reason})")
