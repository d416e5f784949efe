"""The state of one failing call under a retry, and the rules it decides by.

The only importer of tenacity besides ``prodkit.compat``, once an attempt has failed.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from types import CodeType
from typing import Any, Protocol

from prodkit.core.deadline import Deadline
from prodkit.core.runtime import Runtime
from prodkit.errors import DeadlineExceededError, InvalidError, MissingExtraError, RejectedError
from prodkit.policies.backoff import Backoff
from prodkit.policies.base import INVOKERS, MisuseError, name_of
from prodkit.policies.events import RetryGaveUp, RetryScheduled
from prodkit.policies.matching import Errors, classes_in
from prodkit.policies.retry_after import retry_after_of

__all__ = ["Budget", "RetryRules", "RetryState"]

NEVER_RETRIED = (RejectedError, DeadlineExceededError, InvalidError, MissingExtraError, MisuseError)
"""Never retried, because that cannot help or is not wanted, unless `on` names one of them."""

NEVER_SENT = (RejectedError, ConnectionRefusedError, socket.gaierror)
"""After these nothing can have happened on the other side, so even a non-idempotent call may be repeated."""


class Budget(Protocol):
    """The account that pays for further attempts; :class:`prodkit.policies.RetryBudget` is one."""

    def deposit(self) -> None:
        """Record a success."""
        ...

    def price(self, error: BaseException | None) -> float:
        """Return the tokens that one more attempt after `error` costs; None stands for a hedge."""
        ...

    def withdraw(self, error: BaseException | None) -> bool:
        """Pay for one more attempt after `error`; return False if the tokens do not suffice."""
        ...

    def refund(self, tokens: float) -> None:
        """Give back `tokens` paid for an attempt that was not made."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryRules:
    """The decisions of a :class:`~prodkit.policies.Retry`, as its state needs them."""

    attempts: int | None
    matches: Callable[[BaseException], bool]
    refused: tuple[type[BaseException], ...]
    strategy: Any
    result: Callable[[Any], bool] | None
    wait: Any
    stop: Any
    budget: Budget | None
    idempotent: bool
    max_wait: float
    nested: bool
    runtime: Runtime


RETRYING: set[CodeType] = set()
"""Code objects of the shells in ``retry.py``: a retry that failed looks for them to find out that it is nested."""

_outer: ContextVar[RetryState | None] = ContextVar("prodkit_retry", default=None)
"""The retry that repeats the surrounding call, for tasks that the call starts."""


def _under_another(depth: int) -> bool:
    """Return True if a frame further out belongs to a retry: asked after a failure only, so a success pays nothing.

    The frames of an await chain hang together within one task. A task started by a repeated attempt sees the
    ContextVar instead.
    """
    state = _outer.get()
    if state is not None and state.live:
        return True
    frame = sys._getframe(depth).f_back
    while frame is not None:
        if frame.f_code in RETRYING:
            return True
        frame = frame.f_back
    return False


class RetryState:
    """The state of one failing call: decides after each attempt. Keeps no error."""

    __slots__ = (
        "_args",
        "_attempt",
        "_fn",
        "_idle",
        "_last",
        "_nested",
        "_paid",
        "_rules",
        "_since",
        "_start",
        "_token",
        "live",
    )

    def __init__(
        self,
        rules: RetryRules,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        start: float | None,
        *,
        mark: bool = True,
    ) -> None:
        self._rules = rules
        self._fn = fn
        self._args = args
        self._start = start
        self._since = rules.runtime.clock.monotonic()
        self._attempt = 1
        self._idle = 0.0
        self._last = 0.0
        self._paid = 0.0
        self._nested = not rules.nested and _under_another(2)
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
        now = self._rules.runtime.clock.monotonic()
        reason, pause = self._decide(error, None, now)
        if (events := self._rules.runtime.events).listened(RetryScheduled if reason is None else RetryGaveUp):
            kind = type(error).__name__
            events.emit(
                RetryScheduled(call=self._name(), attempt=self._attempt, error=kind, wait=pause)
                if reason is None
                else RetryGaveUp(call=self._name(), attempt=self._attempt, error=kind, reason=reason)
            )
        if reason is None:
            return self._next(pause)
        if self._attempt > 1 or reason not in ("not worth it", "attempts"):
            _note(error, self._summary(now), reason)
        return None

    async def rest(self, pause: float) -> None:
        """Waits; who is cancelled meanwhile gets back what it paid for the attempt that it does not make."""
        try:
            await self._rules.runtime.clock.sleep(pause)
        except BaseException:
            if self._rules.budget is not None:
                self._rules.budget.refund(self._paid)
            raise

    def _summary(self, now: float) -> str:
        if self._attempt == 1:
            return "gave up after 1 attempt"
        often = f"gave up after {self._attempt} attempts"
        if self._start is not None:
            return f"{often} in {now - self._start:.1f} s"
        return f"{often}, {now - self._since:.1f} s after the first failed"

    def judge(self, result: Any) -> float | None:
        """Seconds until the next attempt when `result` is one to try again after; else None."""
        rules = self._rules
        if self._nested or (rules.strategy is None and not (rules.result and rules.result(result))):
            return None
        reason, pause = self._decide(None, result, rules.runtime.clock.monotonic())
        return None if reason is not None else self._next(pause)

    def _next(self, pause: float) -> float:
        self._attempt += 1
        self._idle += pause
        self._last = pause
        return pause

    def _decide(self, error: Exception | None, result: Any, now: float) -> tuple[str | None, float]:
        rules = self._rules
        state = self._state(error, result, now)
        if not self._wanted(error, result, state):
            return "not worth it", 0.0
        if rules.attempts is not None and self._attempt >= rules.attempts:
            return "attempts", 0.0
        if error is not None and not self._repeatable(error):
            return "not idempotent", 0.0
        if rules.stop is not None and rules.stop(state):
            return "stop", 0.0
        pause = self._pause(state)
        hint = None if error is None else retry_after_of(error, rules.runtime.clock.now())
        if hint is not None and hint > pause:
            pause = hint
            if pause > rules.max_wait:
                return "retry_after beyond max_wait", 0.0
        if now + pause >= Deadline.instant():
            return "deadline", 0.0
        if (budget := rules.budget) is not None:
            self._paid = budget.price(error)
            if not budget.withdraw(error):
                return "budget", 0.0
        return None, pause

    def _wanted(self, error: Exception | None, result: Any, state: Any) -> bool:
        rules = self._rules
        if error is not None:
            if isinstance(error, rules.refused):
                return False
            return bool(rules.strategy(state)) if rules.strategy is not None else rules.matches(error)
        if rules.result is not None and rules.result(result):
            return True
        return rules.strategy is not None and bool(rules.strategy(state))

    def _repeatable(self, error: Exception) -> bool:
        marked = any(getattr(fn, "_prodkit_non_idempotent", False) for fn in self._layers())
        if self._rules.idempotent and not marked:
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
        wait = self._rules.wait
        if isinstance(wait, (int, float)):
            return float(wait)
        if from_tenacity(wait, "wait_base"):
            return float(wait(state))
        backoff: Backoff = wait
        return backoff(self._attempt, self._rules.runtime.rng, self._last)

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


def never_retried(on: Errors) -> tuple[type[Exception], ...]:
    """Return the classes of :data:`NEVER_RETRIED` that `on` does not name; ``on=Exception`` names none of them."""
    classes = classes_in(on)
    return tuple(
        refused for refused in NEVER_RETRIED if not any(issubclass(each, refused) for each in classes)
    )


def from_tenacity(strategy: object, base: str) -> bool:
    """Return True if `strategy` is an instance of tenacity's class `base`, without importing tenacity."""
    module = sys.modules.get(f"tenacity.{base.removesuffix('_base')}")  # not imported: no instance exists
    return module is not None and isinstance(strategy, getattr(module, base))


def _note(error: Exception, summary: str, reason: str) -> None:
    if any(note.startswith("gave up after") for note in getattr(error, "__notes__", ())):
        return  # the same error object once more
    error.add_note(summary if reason == "attempts" else f"{summary} ({reason})")
