"""Retry: repeat a call that failed for a transient reason."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from copy import copy
from dataclasses import replace
from types import CoroutineType
from typing import Any, Final, Self, TypeVar

from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.policies.backoff import full_jitter
from prodkit.policies.base import AsyncFn, Policy, StreamFn, SyncFn
from prodkit.policies.deadline_guard import bounded, deadline_for, stream_until_deadline, within_deadline
from prodkit.policies.fast_clock import ticks_of
from prodkit.policies.matching import Errors, matcher
from prodkit.policies.retry_state import (
    RETRYING,
    Budget,
    RetryRules,
    RetryState,
    from_tenacity,
    never_retried,
)

__all__ = ["Budget", "Retry", "non_idempotent"]

F = TypeVar("F", bound=Callable[..., Any])

_NEVER: Final = math.inf


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
        strategy = on if from_tenacity(on, "retry_base") else None
        named: Errors = Exception if strategy is not None else on
        wait = full_jitter() if wait is None else wait
        self._budget = budget
        self._rules = RetryRules(
            attempts=attempts,
            matches=matcher("on", named),
            refused=never_retried(named),
            strategy=strategy,
            result=result,
            wait=wait,
            stop=stop,
            budget=budget,
            idempotent=idempotent,
            max_wait=max_wait,
            nested=nested,
            runtime=runtime,
        )
        self._judged = result is not None or strategy is not None
        tenacious = strategy is not None or from_tenacity(wait, "wait_base")
        self._exact = stop is not None or tenacious  # these may ask when the first attempt began
        self._ticks = ticks_of(runtime.clock)

    def adopt(self, runtime: Runtime) -> Self:
        if self.runtime is not SYSTEM:
            return self
        adopted = copy(self)
        for built in ("_run", "_call", "_stream"):
            adopted.__dict__.pop(built, None)
        adopted.runtime = runtime
        adopted._rules = replace(self._rules, runtime=runtime)
        adopted._ticks = ticks_of(runtime.clock)
        return adopted

    # -- the shells -----------------------------------------------------------------------------------------
    def wrap(self, fn: AsyncFn) -> AsyncFn:
        deadline, ticks = deadline_for(fn), self._ticks
        deposit = None if self._budget is None else self._budget.deposit
        judged, exact = self._judged, self._exact

        async def retried(*args: Any, **kwargs: Any) -> Any:
            state = None
            start = ticks()() if exact else None
            try:
                while True:
                    try:
                        if deadline() == _NEVER:
                            result = await fn(*args, **kwargs)
                        else:
                            result = await within_deadline(fn, args, kwargs)
                    except Exception as error:
                        state = state or RetryState(self._rules, fn, args, start)
                        if (pause := state.after(error)) is None:
                            raise
                    else:
                        if judged:
                            state = state or RetryState(self._rules, fn, args, start)
                            if (pause := state.judge(result)) is not None:
                                await state.rest(pause)
                                continue
                        if deposit is not None:
                            deposit()
                        return result
                    await state.rest(pause)
            finally:
                if state is not None:
                    state.over()

        RETRYING.add(retried.__code__)
        return bounded(retried)

    def wrap_sync(self, fn: SyncFn) -> SyncFn:
        block, ticks = self.runtime.clock.block, self._ticks
        deposit = None if self._budget is None else self._budget.deposit
        judged, exact = self._judged, self._exact

        def retried(*args: Any, **kwargs: Any) -> Any:
            state = None
            start = ticks()() if exact else None
            try:
                while True:
                    try:
                        result = fn(*args, **kwargs)
                    except Exception as error:
                        state = state or RetryState(self._rules, fn, args, start)
                        if (pause := state.after(error)) is None:
                            raise
                    else:
                        if type(result) is CoroutineType:
                            return self.resume(fn, result, args, kwargs)
                        if judged:
                            state = state or RetryState(self._rules, fn, args, start)
                            if (pause := state.judge(result)) is not None:
                                block(pause)
                                continue
                        if deposit is not None:
                            deposit()
                        return result
                    block(pause)
            finally:
                if state is not None:
                    state.over()

        RETRYING.add(retried.__code__)
        return retried

    def wrap_stream(self, fn: StreamFn) -> StreamFn:
        fn = stream_until_deadline(fn)

        async def retried(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            state = None
            while True:
                begun = False
                try:
                    async with aclosing(fn(*args, **kwargs)) as items:  # type: ignore[type-var]
                        async for item in items:
                            begun = True
                            yield item
                except Exception as error:
                    state = state or RetryState(self._rules, fn, args, None, mark=False)
                    if begun or (pause := state.after(error)) is None:
                        raise
                else:
                    if self._budget is not None:
                        self._budget.deposit()
                    return
                await state.rest(pause)

        RETRYING.add(retried.__code__)
        return bounded(retried)

    def __repr__(self) -> str:
        return f"Retry(attempts={self.attempts!r})"


def non_idempotent(fn: F) -> F:
    """Marks a function whose second call might do harm (a payment, a message): see :class:`Retry`."""
    fn._prodkit_non_idempotent = True  # type: ignore[attr-defined]
    return fn
