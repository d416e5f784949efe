"""Cancel a call at the caller's deadline: the one timer that all policies share.

Every policy must end its call at the :class:`~prodkit.Deadline` in force, and nested policies must not set a
timer each. So the innermost policy enforces the deadline and marks its callable with :func:`bounded`; those
further out ask :func:`deadline_for` and skip theirs::

    Retry -> breaker -> Timeout(5) -> fn        one timer a call: min(5 s, what is left of the deadline)
              bounded   bounded
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from contextvars import ContextVar
from typing import Any, Final, TypeVar

from prodkit.core.deadline import _current
from prodkit.errors import CallTimeoutError, DeadlineExceededError
from prodkit.policies.callables import AsyncFn, StreamFn

__all__ = [
    "TimeLimit",
    "bounded",
    "deadline_for",
    "ended_by_timer",
    "enforces_deadline",
    "limit_items",
    "stream_until_deadline",
    "until_deadline",
    "within",
    "within_deadline",
]

F = TypeVar("F", bound=Callable[..., Any])

_OUR_TIMER: Final = "prodkit: the time is up"
"""The message of cancellations by this timer: policies further in read it to distinguish them from a caller
that went away."""

_unlimited: Final = ContextVar("prodkit_unlimited", default=math.inf)


def bounded(fn: F) -> F:
    """Mark `fn` as one that enforces the deadline itself, so that no second timer is set for it."""
    fn._prodkit_bounded = True  # type: ignore[attr-defined]
    return fn


def enforces_deadline(fn: object) -> bool:
    """Return True if something inside `fn` ends it at the caller's deadline."""
    return getattr(fn, "_prodkit_bounded", False)


def deadline_for(fn: object) -> Callable[[], float]:
    """Return the reader of the deadline that a policy around `fn` must enforce.

    It returns infinity where something inside `fn` enforces the deadline already.
    """
    return _unlimited.get if enforces_deadline(fn) else _current.get


def until_deadline(fn: AsyncFn) -> AsyncFn:
    """Return `fn`, cancelled at the caller's deadline where there is one."""
    deadline = deadline_for(fn)

    async def attempt(*args: Any, **kwargs: Any) -> Any:
        if deadline() == math.inf:
            return await fn(*args, **kwargs)
        return await within(math.inf, fn, args, kwargs)

    attempt.__wrapped__ = fn  # type: ignore[attr-defined]
    return bounded(attempt)


def stream_until_deadline(fn: StreamFn) -> StreamFn:
    """Return the stream `fn`, cancelled at the caller's deadline where there is one."""
    return fn if enforces_deadline(fn) else limit_items(math.inf, fn)


def limit_items(seconds: float, fn: StreamFn) -> StreamFn:
    """Return the stream `fn` with at most `seconds` for each item, and the deadline for all of them."""

    async def timed(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        iterator: Any = fn(*args, **kwargs).__aiter__()
        async with aclosing(iterator) as items:
            step = items.__anext__
            while True:
                try:
                    item = await within(seconds, step, (), {})
                except StopAsyncIteration:
                    return
                yield item

    return bounded(timed)


async def within_deadline(fn: AsyncFn, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call `fn` with `args` and `kwargs` and cancel it at the caller's deadline."""
    return await within(math.inf, fn, args, kwargs)


def ended_by_timer(error: BaseException) -> bool:
    """Return True if the cancellation `error` came from a prodkit timer, not from a caller that went away."""
    return bool(error.args) and error.args[0] is _OUR_TIMER


class _Expiry:
    __slots__ = ("fired", "task")

    def __init__(self, task: asyncio.Task[Any]) -> None:
        self.task: asyncio.Task[Any] = task
        self.fired: bool = False

    def __call__(self) -> None:
        self.fired = True
        self.task.cancel(_OUR_TIMER)


async def within(seconds: float, fn: AsyncFn, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call `fn` with `args` and `kwargs`, cancelled after `seconds` or at the deadline, whichever is sooner.

    Raises:
        CallTimeoutError: `seconds` had passed.
        DeadlineExceededError: the deadline had passed; ``timeout`` is 0.0 if nothing was started.
    """
    loop = asyncio.get_running_loop()
    now = loop.time()
    end = now + seconds
    deadline = _current.get()
    if deadline <= now:
        raise DeadlineExceededError("the deadline passed before the call was started", timeout=0.0)
    when = min(end, deadline)
    if when == math.inf:
        return await fn(*args, **kwargs)
    task = asyncio.current_task()
    assert task is not None
    expiry = _Expiry(task)
    before = task.cancelling()
    timer = loop.call_at(when, expiry)
    try:
        return await fn(*args, **kwargs)
    except asyncio.CancelledError as error:
        if expiry.fired:
            expiry.fired = False
            if task.uncancel() <= before:  # no other cancellation of this task is pending
                raise _expired(seconds, when - now, deadline < end) from error
        raise
    finally:
        timer.cancel()
        if expiry.fired:  # it answered, or failed otherwise, in spite of the cancellation
            task.uncancel()


class TimeLimit:
    """The same limit around a block: :meth:`start` sets the timer, :meth:`stop` says how the block ended.

    Args:
        seconds: the limit; the deadline in force ends the block too.
    """

    __slots__ = ("_before", "_by_deadline", "_expiry", "_given", "_seconds", "_timer")

    _timer: asyncio.TimerHandle
    _expiry: _Expiry

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def start(self) -> None:
        """Begin: cancel the current task when the time is over.

        Raises:
            DeadlineExceededError: the deadline has passed.
        """
        loop = asyncio.get_running_loop()
        now, deadline = loop.time(), _current.get()
        if deadline <= now:
            raise DeadlineExceededError("the deadline passed before the block was started", timeout=0.0)
        task = asyncio.current_task()
        assert task is not None
        when = min(now + self._seconds, deadline)
        self._given, self._by_deadline = when - now, deadline < now + self._seconds
        self._expiry, self._before = _Expiry(task), task.cancelling()
        self._timer = loop.call_at(when, self._expiry)

    def stop(self, error: BaseException | None) -> CallTimeoutError | None:
        """Return the error in place of the cancellation `error` if this limit caused it, else None."""
        self._timer.cancel()
        if not self._expiry.fired:
            return None
        left = self._expiry.task.uncancel()
        if isinstance(error, asyncio.CancelledError) and left <= self._before:
            return _expired(self._seconds, self._given, self._by_deadline)
        return None


def _expired(seconds: float, given: float, by_deadline: bool) -> CallTimeoutError:
    if by_deadline:
        return DeadlineExceededError(f"the deadline passed {given:.3g} s into the call", timeout=given)
    return CallTimeoutError(f"no answer within {seconds:g} s", timeout=seconds)
