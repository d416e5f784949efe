"""The shells of Retry around a function and a stream::

run -> wrap -> retried     the first attempt runs outside of everything: a success pays for a try block
         `- error: RetryState.failed -> wanted? wait, stop, deadline, budget -> sleep -> next attempt
                                    `-> the last error, with a note
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, closing
from types import CoroutineType
from typing import Any, Final

from prodkit.policies.base import AsyncFn, Policy, StreamFn, SyncFn
from prodkit.policies.deadline_guard import bounded, deadline_for, stream_until_deadline, within_deadline
from prodkit.policies.fast_clock import FastClock
from prodkit.policies.retry_rules import Budget, RetryRules
from prodkit.policies.retry_state import RETRYING, RetryState
from prodkit.policies.retry_statistics import RetryStatistics
from prodkit.policies.steps import drive

__all__ = ["RetryShells"]

_NEVER: Final = math.inf


class RetryShells(Policy):
    """The guarded forms of functions and streams."""

    statistics: RetryStatistics
    """tenacity's counts of this thread's last call; a decorated function has its own."""

    _rules: RetryRules
    _budget: Budget | None
    _judged: bool
    _clock: Callable[[], FastClock]

    def wrap(self, fn: AsyncFn) -> AsyncFn:
        """Return the guarded form of the async function `fn`."""
        return bounded(self._wrap_exact(fn) if self._rules.exact else self._wrap_short(fn))

    def _wrap_short(self, fn: AsyncFn) -> AsyncFn:
        deadline = deadline_for(fn)
        deposit = None if self._budget is None else self._budget.deposit
        judged, statistics = self._judged, self.statistics

        async def retried(*args: Any, **kwargs: Any) -> Any:
            state = None
            try:
                while True:
                    try:
                        if deadline() == _NEVER:
                            result = await fn(*args, **kwargs)
                        else:
                            result = await within_deadline(fn, args, kwargs)
                    except Exception as error:
                        state = state or RetryState(self._rules, fn, args, kwargs, None, statistics)
                        if not await state.failed(error):
                            raise
                    else:
                        if judged:
                            state = state or RetryState(self._rules, fn, args, kwargs, None, statistics)
                            if await state.answered(result):
                                await state.rest()
                                continue
                        if deposit is not None:
                            deposit()
                        if statistics.pending and state is None:
                            statistics.succeeded()
                        return result
                    await state.rest()
            finally:
                if state is not None:
                    state.over()

        RETRYING.add(retried.__code__)
        return retried

    def _wrap_exact(self, fn: AsyncFn) -> AsyncFn:
        """Return the shell where the call state exists from the beginning, for tenacity's strategies and callbacks."""
        deadline, clock = deadline_for(fn), self._clock

        async def retried(*args: Any, **kwargs: Any) -> Any:
            state = RetryState(self._rules, fn, args, kwargs, clock()(), self.statistics)
            try:
                while True:
                    await state.before()
                    try:
                        if deadline() == _NEVER:
                            result = await fn(*args, **kwargs)
                        else:
                            result = await within_deadline(fn, args, kwargs)
                    except Exception as error:
                        if not await state.failed(error):
                            if state.substituted:
                                return state.substitute
                            raise
                    else:
                        if not await state.answered(result):
                            return self._final(state, result)
                    await state.rest()
            finally:
                state.over()

        RETRYING.add(retried.__code__)
        return retried

    def _final(self, state: RetryState, result: Any) -> Any:
        if state.substituted:
            return state.substitute
        if self._budget is not None:
            self._budget.deposit()
        return result

    def wrap_sync(self, fn: SyncFn) -> SyncFn:
        """Return the guarded form of the plain function `fn`."""
        return self._wrap_exact_sync(fn) if self._rules.exact else self._wrap_short_sync(fn)

    def _wrap_short_sync(self, fn: SyncFn) -> SyncFn:
        deposit = None if self._budget is None else self._budget.deposit
        judged, statistics = self._judged, self.statistics

        def retried(*args: Any, **kwargs: Any) -> Any:
            state = None
            try:
                while True:
                    try:
                        result = fn(*args, **kwargs)
                    except Exception as error:
                        state = state or RetryState(self._rules, fn, args, kwargs, None, statistics)
                        if not drive(state.failed(error)):
                            raise
                    else:
                        if type(result) is CoroutineType:
                            return self.resume(fn, result, args, kwargs)
                        if judged:
                            state = state or RetryState(self._rules, fn, args, kwargs, None, statistics)
                            if drive(state.answered(result)):
                                state.rest_sync()
                                continue
                        if deposit is not None:
                            deposit()
                        if statistics.pending and state is None:
                            statistics.succeeded()
                        return result
                    state.rest_sync()
            finally:
                if state is not None:
                    state.over()

        RETRYING.add(retried.__code__)
        return retried

    def _wrap_exact_sync(self, fn: SyncFn) -> SyncFn:
        clock = self._clock

        def retried(*args: Any, **kwargs: Any) -> Any:
            state = RetryState(self._rules, fn, args, kwargs, clock()(), self.statistics)
            try:
                while True:
                    drive(state.before())
                    try:
                        result = fn(*args, **kwargs)
                    except Exception as error:
                        if not drive(state.failed(error)):
                            if state.substituted:
                                return state.substitute
                            raise
                    else:
                        if type(result) is CoroutineType:
                            return self.resume(fn, result, args, kwargs)
                        if not drive(state.answered(result)):
                            return self._final(state, result)
                    state.rest_sync()
            finally:
                state.over()

        RETRYING.add(retried.__code__)
        return retried

    def wrap_stream(self, fn: StreamFn) -> StreamFn:
        """Return the guarded form of the async generator function `fn`."""
        fn = stream_until_deadline(fn)

        async def retried(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            state = None
            start = self._clock()() if self._rules.exact else None
            while True:
                begun = False
                if self._rules.before is not None:
                    state = state or RetryState(
                        self._rules, fn, args, kwargs, start, self.statistics, mark=False
                    )
                    await state.before()
                try:
                    async with aclosing(fn(*args, **kwargs)) as items:  # type: ignore[type-var]
                        async for item in items:
                            begun = True
                            yield item
                except Exception as error:
                    state = state or RetryState(
                        self._rules, fn, args, kwargs, start, self.statistics, mark=False
                    )
                    if begun or not await state.failed(error):
                        raise
                else:
                    if self._budget is not None:
                        self._budget.deposit()
                    if self.statistics.pending and state is None:
                        self.statistics.succeeded()
                    return
                await state.rest()

        RETRYING.add(retried.__code__)
        return bounded(retried)

    def wrap_generator(self, fn: SyncFn) -> SyncFn:
        """Return the guarded form of the generator function `fn`."""

        def retried(*args: Any, **kwargs: Any) -> Iterator[Any]:
            state = None
            while True:
                begun = False
                try:
                    with closing(fn(*args, **kwargs)) as items:
                        for item in items:
                            begun = True
                            yield item
                except Exception as error:
                    state = state or RetryState(
                        self._rules, fn, args, kwargs, None, self.statistics, mark=False
                    )
                    if begun or not drive(state.failed(error)):
                        raise
                else:
                    if self._budget is not None:
                        self._budget.deposit()
                    if self.statistics.pending and state is None:
                        self.statistics.succeeded()
                    return
                state.rest_sync()

        RETRYING.add(retried.__code__)
        return retried
