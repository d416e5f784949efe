"""Retry: repeat a call that failed for a transient reason.

Its rules are in ``retry_rules.py``, the state of one call in ``retry_state.py``, the guarded forms of functions in
``retry_shells.py`` and that of a block in ``retry_block.py``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from copy import copy
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final, Self, TypeVar

from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.core.validate import Arguments
from prodkit.policies.backoff import full_jitter
from prodkit.policies.block import Scope
from prodkit.policies.fast_clock import fast_clock_of
from prodkit.policies.matching import Errors, matcher
from prodkit.policies.retry_block import Attempts
from prodkit.policies.retry_rules import (
    Budget,
    RetryRules,
    from_tenacity,
    never_retried,
    takes_state,
    verdict_on,
)
from prodkit.policies.retry_shells import RetryShells
from prodkit.policies.retry_statistics import RetryStatistics

__all__ = ["Retry"]

F = TypeVar("F", bound=Callable[..., Any])

_BUDGET: Final = ("deposit", "price", "withdraw", "refund")
_CALLBACKS: Final = ("stop", "before", "after", "before_sleep", "retry_error_callback", "result")


class Retry(RetryShells):
    """Repeat a failed call, up to `attempts` calls in all.

    ::

        answer = await Retry(attempts=3, on=(ConnectionError, TimeoutError)).run(fetch, url)

        async for attempt in Retry(attempts=3):     # or: for attempt in …: with attempt:
            async with attempt:
                answer = await fetch(url)

    The last error reaches the caller as it is, with a note of the number of attempts and the time. An error with
    ``retry_after`` is waited for at least that long. If the wait would pass the :class:`~prodkit.Deadline`, the error
    goes to the caller at once. Rejections (an open breaker, a full bulkhead), refused input and a passed deadline are
    not retried unless `on` names them; errors that are no :class:`Exception`, a cancellation above all, never are. Of
    nested retries only the outermost one repeats. On a function marked :func:`non_idempotent` only calls that cannot
    have been sent are repeated. An async generator is repeated only until its first item.

    tenacity's strategies and callbacks are taken as they are, sync or async, with tenacity's meaning.

    Args:
        attempts: calls in all, the first one included; None leaves the end to `stop`.
        on: errors to retry after: classes, a predicate, a collection of both, or a tenacity ``retry`` strategy. A
            predicate may return the seconds to wait, as a number or a timedelta. A group is retried if all its leaves
            match.
        result: decides which results to retry after; the last one is returned.
        wait: seconds between attempts: a :mod:`~prodkit.policies.backoff`, a number, a timedelta, or a tenacity
            ``wait``. By default full jitter between 0 and 0.1 s, 0.2 s, 0.4 s …, 5 s.
        stop: a tenacity ``stop`` that ends the attempts too; it is asked after the wait is known.
        before: called with the call state before each attempt.
        after: called with the call state after each attempt that is to be repeated or given up.
        before_sleep: called with the call state before each wait.
        retry_error_callback: called with the call state when the attempts are used up; its result is returned instead
            of raising the last error.
        budget: pays for each further attempt, such as a :class:`~prodkit.policies.RetryBudget` shared by all callers.
        idempotent: False repeats only calls that cannot have been sent.
        max_wait: longest ``Retry-After`` to wait for, in seconds; an error that asks for more goes to the caller.
        nested: True retries also inside another retry.
        runtime: clock, randomness and events.
    """

    rank = 30

    attempts: int | None
    idempotent: bool
    max_wait: float
    nested: bool
    runtime: Runtime
    statistics: RetryStatistics
    """tenacity's counts of this thread's last call, such as ``attempt_number``; empty before the first one."""

    def __init__(
        self,
        attempts: int | None = 3,
        *,
        on: Any = Exception,
        result: Callable[[Any], Any] | None = None,
        wait: Any = None,
        stop: Callable[[Any], Any] | None = None,
        before: Callable[[Any], Any] | None = None,
        after: Callable[[Any], Any] | None = None,
        before_sleep: Callable[[Any], Any] | None = None,
        retry_error_callback: Callable[[Any], Any] | None = None,
        budget: Budget | None = None,
        idempotent: bool = True,
        max_wait: float = 60.0,
        nested: bool = False,
        runtime: Runtime = SYSTEM,
    ) -> None:
        options = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        if isinstance(wait, timedelta):
            wait = wait.total_seconds()
        strategy = on if from_tenacity(on, "retry_base") else None
        named: Errors = Exception if strategy is not None else on
        check = Arguments("Retry")
        if callable(options["attempts"]):
            check.value("attempts must be a number: write @Retry(), with parentheses", attempts)
        else:
            check.integer("attempts", attempts, minimum=1, optional=True)
        check.that(
            attempts is not None or stop is not None, "attempts=None needs a stop strategy, or it never ends"
        )
        check.attempt(lambda: matcher("on", named))
        if isinstance(wait, (int, float)):
            check.seconds("wait", wait, zero=True)
        elif wait is not None and not callable(wait):
            check.value("wait must be a backoff, a number of seconds or a tenacity wait strategy", wait)
        for name in _CALLBACKS:
            check.function(name, options[name], optional=True)
        if budget is not None and not all(callable(getattr(budget, each, None)) for each in _BUDGET):
            check.value("budget must be a RetryBudget, or have its methods", budget)
        check.number("max_wait", max_wait, minimum=0, infinite=True, unit="seconds")
        check.instance("idempotent", idempotent, bool, "True or False")
        check.instance("nested", nested, bool, "True or False")
        check.instance("runtime", runtime, Runtime, "a Runtime")
        check.done()
        self.attempts = attempts
        self.idempotent = idempotent
        self.max_wait = max_wait
        self.nested = nested
        self.runtime = runtime
        self.statistics = RetryStatistics(runtime.clock)
        self._options = options
        self._budget = budget
        wait = full_jitter() if wait is None else wait
        self._rules = RetryRules(
            attempts=attempts,
            verdict=verdict_on(named),
            refused=never_retried(named),
            strategy=strategy,
            result=result,
            wait=wait,
            wait_takes_state=callable(wait) and takes_state(wait),
            stop=stop,
            before=before,
            after=after,
            before_sleep=before_sleep,
            retry_error_callback=retry_error_callback,
            budget=budget,
            idempotent=idempotent,
            max_wait=max_wait,
            nested=nested,
            runtime=runtime,
        )
        self._judged = result is not None or strategy is not None
        self._clock = fast_clock_of(runtime.clock)

    @property
    def budget(self) -> Budget | None:
        """The budget that pays for further attempts."""
        return self._budget

    def adopt(self, runtime: Runtime) -> Self:
        """Return this policy on `runtime`."""
        if self.runtime is not SYSTEM:
            return self
        adopted = copy(self)
        for built in ("_run", "_call", "_stream"):
            adopted.__dict__.pop(built, None)
        adopted.runtime = runtime
        adopted._options = {**self._options, "runtime": runtime}
        adopted._rules = replace(self._rules, runtime=runtime)
        adopted._clock = fast_clock_of(runtime.clock)
        return adopted

    def copy(self, **changes: Any) -> Self:
        """Return this retry with some arguments changed.

        Args:
            changes: arguments of the constructor, such as ``attempts=5``.
        """
        return type(self)(**{**self._options, **changes})

    def __call__(self, fn: F) -> F:
        """Decorate `fn`; the result carries ``retry``, its own ``statistics`` and ``retry_with(**changes)``."""
        counting = copy(self)  # counts for `fn` too; everything else is shared
        counting.statistics = RetryStatistics(self.runtime.clock, self.statistics)
        guarded: Any = super(Retry, counting).__call__(fn)
        if guarded is not fn:
            guarded.retry = self
            guarded.statistics = counting.statistics
            guarded.retry_with = lambda **changes: self.copy(**changes)(fn)
        return guarded  # type: ignore[no-any-return]

    def __iter__(self) -> Iterator[Any]:
        """Repeat a block: ``for attempt in retry: with attempt: …``."""
        return iter(Attempts(self._rules, self.statistics))

    def __aiter__(self) -> AsyncIterator[Any]:
        """Repeat a block: ``async for attempt in retry: async with attempt: …``."""
        return aiter(Attempts(self._rules, self.statistics))

    def attempts_around(self, *scopes: Callable[[], Scope]) -> Attempts:
        """Return the attempts of a block with further guards around each of them, outermost first.

        Args:
            scopes: make the guards of each attempt.
        """
        return Attempts(self._rules, self.statistics, *scopes)

    def scope(self) -> Scope:
        """Return a guard for one block."""
        raise TypeError("Retry repeats a block: write `for attempt in retry: with attempt: …`")

    def __repr__(self) -> str:
        return f"Retry(attempts={self.attempts!r})"
