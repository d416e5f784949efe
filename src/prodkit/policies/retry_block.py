"""The block forms of Retry: ``for attempt in retry: with attempt: …``, sync and async, over the same state."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Self

from prodkit.core.deadline import Deadline
from prodkit.policies.block import Block, Scope
from prodkit.policies.deadline_guard import TimeLimit
from prodkit.policies.retry_rules import RetryRules
from prodkit.policies.retry_state import RetryState
from prodkit.policies.retry_statistics import RetryStatistics
from prodkit.policies.steps import drive

__all__ = ["Attempt", "Attempts"]

_UNSET: Final = object()


class Attempts:
    """The attempts of one repeated block; an iterator, sync and async.

    Args:
        rules: of the retry.
        statistics: filled with the counts of this block.
        scopes: make further guards around each attempt, outermost first.
    """

    def __init__(self, rules: RetryRules, statistics: RetryStatistics, *scopes: Callable[[], Scope]) -> None:
        self._rules = rules
        self._statistics = statistics
        self._scopes = scopes
        self.asynchronous: bool = rules.asynchronous
        """A strategy or callback has to be awaited."""
        self.judged: bool = rules.strategy is not None or rules.result is not None
        """Results are judged too: after the body of the loop, which may set them behind the block."""
        self._state: RetryState | None = None
        self._again = True
        self._open: Attempt | None = None

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Attempt:
        if self._open is not None and self._open.deferred:
            drive(self._open.end_deferred())
        if self._begin():
            state = self._made()
            if state.attempt > 1:
                state.rest_sync()
            drive(state.before())
            return self._next(asynchronous=False)
        raise StopIteration

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Attempt:
        if self._open is not None and self._open.deferred:
            await self._open.end_deferred()
        if self._begin():
            state = self._made()
            if state.attempt > 1:
                await state.rest()
            await state.before()
            return self._next(asynchronous=True)
        raise StopAsyncIteration

    def _begin(self) -> bool:
        if self._open is not None and not self._open.used:
            raise RuntimeError("the attempt was not entered: write `with attempt:` in the body of the loop")
        return self._again

    def _made(self) -> RetryState:
        if self._state is None:
            start = self._rules.runtime.clock.monotonic()
            self._state = RetryState(self._rules, None, (), {}, start, self._statistics, mark=False)
        return self._state

    def _next(self, *, asynchronous: bool) -> Attempt:
        self._again = False
        self._open = Attempt(self, self._made(), Block(*(make() for make in self._scopes)), asynchronous)
        return self._open

    def succeeded(self) -> None:
        """Record that the block succeeded."""
        if self._rules.budget is not None:
            self._rules.budget.deposit()

    def settle(self, again: bool) -> None:
        """Record the decision after an attempt."""
        self._again = again


class Attempt:
    """One attempt of a repeated block: enter it with ``with``, or with ``async with`` in an ``async for``.

    An error inside is swallowed if another attempt follows, and raised if not.
    """

    def __init__(self, attempts: Attempts, state: RetryState, block: Block, asynchronous: bool) -> None:
        self.number: int = state.attempt
        """The number of this attempt, counted from 1."""
        self.used: bool = False
        self.deferred: bool = False
        self.error: Exception | None = None
        self._attempts = attempts
        self._state = state
        self._block = block
        self._asynchronous = asynchronous
        self._result: Any = _UNSET
        self._limit: TimeLimit | None = None

    @property
    def retry_state(self) -> Any:
        """tenacity's state of this block, for code that comes from there; None where no strategy of it is used."""
        return self._state.call

    def set_result(self, result: Any) -> None:
        """Hand over the result of this attempt, for a `result=` rule or a tenacity strategy to judge.

        In the block or behind it; as in tenacity, ``attempt.retry_state.set_result(result)`` does the same.
        """
        self._result = result

    def __enter__(self) -> Self:
        self.used = True
        self._block.__enter__()
        if self._asynchronous and Deadline.instant() != math.inf:
            self._limit = TimeLimit(math.inf)
            self._limit.start()
        self._state.enter_block()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self._state.leave_block()
        late = None if self._limit is None else self._limit.stop(error)
        ended = error if late is None else late
        self._block.__exit__(None if ended is None else type(ended), ended, trace)
        if ended is None and self._attempts.judged:
            return self._defer(None)
        if (
            self._asynchronous
            and self._attempts.asynchronous
            and (ended is None or isinstance(ended, Exception))
        ):
            return self._defer(ended)  # decided in the loop, where strategies can be awaited
        swallowed = drive(self.end(ended))
        if late is not None and not swallowed:
            raise late from error
        return swallowed

    async def __aenter__(self) -> Self:
        if not self._asynchronous:
            raise TypeError("`async with attempt` needs `async for attempt in retry`")
        self.used = True
        await self._block.__aenter__()
        self._state.enter_block()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self._state.leave_block()
        try:
            await self._block.__aexit__(kind, error, trace)
        except Exception as replaced:  # the deadline, in place of its cancellation
            if await self.end(replaced):
                return True
            raise
        if error is None and self._attempts.judged:
            return self._defer(None)
        return await self.end(error)

    def _defer(self, error: Exception | None) -> bool:
        """Leave the decision to the next step of the loop."""
        self.deferred, self.error = True, error
        self._state.block_ended(error, None if self._result is _UNSET else self._result)
        return error is not None

    async def end_deferred(self) -> None:
        """Decide what :meth:`__exit__` left to the loop."""
        self.deferred = False
        error, self.error = self.error, None
        if not await self.end(error) and error is not None:
            raise error

    async def end(self, error: BaseException | None) -> bool:
        """Decide after the block; True swallows its error."""
        if error is None:
            again = await self._state.answered(
                self._state.block_result() if self._result is _UNSET else self._result
            )
            self._attempts.settle(again)
            if not again:
                self._attempts.succeeded()
            return False
        if not isinstance(error, Exception):
            return False
        again = await self._state.failed(error)
        self._attempts.settle(again)
        return again or self._state.substituted
