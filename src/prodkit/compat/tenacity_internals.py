"""The only file that overrides private hooks of tenacity. Read from tenacity 9.0.0 and 9.2.1.

Used: ``BaseRetrying._run_retry``, ``._run_stop``, ``._add_action_func``, ``._post_stop_check_actions`` and
``.iter_state`` (``is_explicit_retry``, ``retry_run_result``, ``stop_run_result``). ``tests/compat`` runs against the
installed version.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import tenacity
import tenacity.asyncio

from prodkit.core.deadline import Deadline
from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.policies.base import Policy, name_of
from prodkit.policies.deadline_guard import until_deadline
from prodkit.policies.events import RetryGaveUp, RetryScheduled
from prodkit.policies.idempotency import is_non_idempotent
from prodkit.policies.retry_rules import NEVER_RETRIED, NEVER_SENT, WRONG_RESULT, Budget
from prodkit.policies.switch import is_off

__all__ = ["AsyncRetrying", "Retrying"]


class _Guarded:
    """The decisions of prodkit inside tenacity's loop: rejections, deadline, idempotency, budget and events."""

    budget: Budget | None
    runtime: Runtime
    retry: Any
    iter_state: Any
    statistics: dict[str, Any]

    def _refuses(self, state: Any) -> bool:
        """Return True if the outcome must not be retried, whatever the default strategy says."""
        error = state.outcome.exception() if state.outcome.failed else None
        if error is None or not isinstance(error, NEVER_RETRIED):
            return False
        # A strategy that was given, and not the default, may name even a rejection.
        kinds = getattr(self.retry, "exception_types", None)
        return kinds is Exception or kinds == (Exception,)

    def _judged(self, state: Any) -> None:
        """Look at the outcome once the strategy has judged it: a success earns tokens, a refusal is not retried."""
        if self.iter_state.retry_run_result:
            self.iter_state.retry_run_result = not self._refuses(state)
        elif self.budget is not None and not state.outcome.failed:
            self.budget.deposit()

    def _ended(self, state: Any) -> str:
        """Return the reason to end although tenacity would go on; empty for none."""
        if is_off(self.runtime):
            return "off"
        error = state.outcome.exception() if state.outcome.failed else None
        if (
            error is not None
            and is_non_idempotent(state.fn, state.args)
            and not isinstance(error, NEVER_SENT)
        ):
            return "not idempotent"
        at = Deadline.instant()
        if self.runtime.clock.monotonic() + float(state.upcoming_sleep or 0.0) >= at:
            return "deadline"
        if self.budget is not None and not self.budget.withdraw(error or WRONG_RESULT):
            return "budget"
        return ""

    def _emit(self, state: Any, *, again: bool) -> None:
        events = self.runtime.events
        if not events.listened(RetryScheduled if again else RetryGaveUp):
            return
        error = state.outcome.exception() if state.outcome.failed else None
        call = "block" if state.fn is None else name_of(state.fn)
        kind = "result" if error is None else type(error).__name__
        number = state.attempt_number
        if again:
            wait = float(state.upcoming_sleep or 0.0)
            events.emit(RetryScheduled(call=call, attempt=number, error=kind, wait=wait))
        else:
            reason = self.statistics.get("reason", "stop")
            events.emit(RetryGaveUp(call=call, attempt=number, error=kind, reason=reason))

    def _decide(self, state: Any) -> None:
        """Look at the reasons of prodkit once tenacity's ``stop`` has not ended the call."""
        if not self.iter_state.stop_run_result and (reason := self._ended(state)):
            self.statistics["reason"] = reason
            self.iter_state.stop_run_result = True
        self._emit(state, again=not self.iter_state.stop_run_result)


class Retrying(_Guarded, tenacity.Retrying):  # pyright: ignore[reportIncompatibleVariableOverride, reportIncompatibleMethodOverride]
    """tenacity's ``Retrying`` with prodkit's decisions.

    Args:
        args: as in tenacity.
        budget: pays for further attempts, such as a :class:`~prodkit.policies.RetryBudget`.
        runtime: clock and events.
        kwargs: as in tenacity.
    """

    def __init__(
        self, *args: Any, budget: Budget | None = None, runtime: Runtime = SYSTEM, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.budget = budget
        self.runtime = runtime

    def copy(self, *args: Any, **changes: Any) -> Any:
        """Return this controller with some parameters changed."""
        made = super().copy(*args, **changes)
        made.budget, made.runtime = self.budget, self.runtime
        return made

    def _run_retry(self, retry_state: Any) -> None:
        super()._run_retry(retry_state)
        self._judged(retry_state)

    def _run_stop(self, retry_state: Any) -> None:
        super()._run_stop(retry_state)
        self._decide(retry_state)


class AsyncRetrying(_Guarded, tenacity.AsyncRetrying):  # pyright: ignore[reportIncompatibleVariableOverride, reportIncompatibleMethodOverride]
    """tenacity's ``AsyncRetrying`` with prodkit's decisions; the deadline cancels the running attempt.

    Args:
        args: as in tenacity.
        budget: pays for further attempts, such as a :class:`~prodkit.policies.RetryBudget`.
        runtime: clock and events.
        kwargs: as in tenacity.
    """

    def __init__(
        self, *args: Any, budget: Budget | None = None, runtime: Runtime = SYSTEM, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.budget = budget
        self.runtime = runtime

    def copy(self, *args: Any, **changes: Any) -> Any:
        """Return this controller with some parameters changed."""
        made = super().copy(*args, **changes)
        made.budget, made.runtime = self.budget, self.runtime
        return made

    async def __call__(  # type: ignore[override]
        self, fn: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Any:
        """Call `fn` and repeat it; with a deadline in force, each attempt is cancelled at it."""
        if getattr(fn, "__func__", None) is Policy.run:
            # a plain function to tenacity, which would not await it
            policy_run: Callable[..., Any] = fn

            async def awaited(*args: Any, **kwargs: Any) -> Any:
                return await policy_run(*args, **kwargs)

            fn = functools.update_wrapper(awaited, policy_run)
        if Deadline.instant() != float("inf") and is_coroutine_callable(fn):
            guarded: Callable[..., Awaitable[Any]] = until_deadline(fn)
            fn = functools.update_wrapper(guarded, fn)
        return await super().__call__(fn, *args, **kwargs)

    async def _run_retry(self, retry_state: Any) -> None:  # type: ignore[override]
        await super()._run_retry(retry_state)
        self._judged(retry_state)

    async def _run_stop(self, retry_state: Any) -> None:  # type: ignore[override]
        await super()._run_stop(retry_state)
        self._decide(retry_state)


def is_coroutine_callable(call: Any) -> bool:
    """Return True if calling `call` gives a coroutine, as tenacity judges it."""
    if inspect.isclass(call):
        return False
    if inspect.iscoroutinefunction(call):
        return True
    inner = call.func if isinstance(call, functools.partial) else getattr(call, "__call__", None)  # noqa: B004
    return inspect.iscoroutinefunction(inner)
