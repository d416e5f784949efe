"""Timeout: ends an attempt at its own limit or at the caller's Deadline, whichever comes first."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from contextvars import ContextVar
from typing import Any, Final, TypeVar

from prodkit.core.deadline import _current
from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.errors import CallTimeoutError, DeadlineExceededError
from prodkit.policies.base import AsyncFn, Policy, StreamFn

__all__ = ["Timeout", "ended_by_timer", "until_deadline"]

F = TypeVar("F", bound=Callable[..., Any])

_OUR_TIMER: Final = "prodkit: the time is up"
"""The message of our cancellations, by which policies further in tell them from a caller that went away."""

_unlimited: Final = ContextVar("prodkit_unlimited", default=math.inf)


class Timeout(Policy):
    """Cancels what takes longer than `seconds`, and waits until it is gone.

    The sooner of `seconds` and the :class:`~prodkit.Deadline` in force ends the attempt: the first with
    :class:`CallTimeoutError`, the second with :class:`DeadlineExceededError`. Both say that the call was
    started and that its effect is unknown, save where ``timeout`` is 0.0: then nothing was started. A
    cancellation from outside stays a cancellation. ``None`` leaves only the deadline.

    On an async generator `seconds` bounds the wait for each item, the deadline bounds them all. A thread
    cannot be stopped, so synchronous functions are refused::

        >>> @Timeout(5)
        ... async def research(topic: str) -> str: ...
    """

    rank = 0  # outside it bounds everything, inside the attempt: both make sense

    def __init__(self, seconds: float | None, *, runtime: Runtime = SYSTEM) -> None:
        if seconds is not None and not (0 < seconds < math.inf):
            raise ValueError(f"Timeout needs a positive number of seconds or None, got {seconds!r}")
        self.seconds = seconds
        self.runtime = runtime

    def wrap(self, fn: AsyncFn) -> AsyncFn:
        seconds = math.inf if self.seconds is None else self.seconds

        async def timed(*args: Any, **kwargs: Any) -> Any:
            return await _within(seconds, fn, args, kwargs)

        return bounded(timed)

    def wrap_stream(self, fn: StreamFn) -> StreamFn:
        seconds = math.inf if self.seconds is None else self.seconds

        async def timed(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            async with aclosing(_aiter(fn, args, kwargs)) as items:
                step = items.__anext__
                while True:
                    try:
                        item = await _within(seconds, step, (), {})
                    except StopAsyncIteration:
                        return
                    yield item

        return bounded(timed)

    def __repr__(self) -> str:
        return f"Timeout({self.seconds!r})"


def until_deadline(fn: AsyncFn) -> AsyncFn:
    """`fn`, ended at the caller's deadline where there is one."""
    deadline = deadline_for(fn)

    async def attempt(*args: Any, **kwargs: Any) -> Any:
        if deadline() == math.inf:
            return await fn(*args, **kwargs)
        return await _within(math.inf, fn, args, kwargs)

    attempt.__wrapped__ = fn  # type: ignore[attr-defined]
    return bounded(attempt)


def stream_until_deadline(fn: StreamFn) -> StreamFn:
    """The stream `fn`, ended at the caller's deadline where there is one."""
    return fn if minds_deadline(fn) else Timeout(None).wrap_stream(fn)


def deadline_for(fn: object) -> Callable[[], float]:
    """How a policy around `fn` reads the deadline it must enforce: infinity where something inside does."""
    return _unlimited.get if minds_deadline(fn) else _current.get


def minds_deadline(fn: object) -> bool:
    """Whether something inside `fn` ends it at the caller's deadline."""
    return getattr(fn, "_prodkit_bounded", False)


async def within_deadline(fn: AsyncFn, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Calls `fn` and cancels it at the caller's deadline."""
    return await _within(math.inf, fn, args, kwargs)


def bounded(fn: F) -> F:
    """Marks `fn` as one that minds the deadline by itself, so that no second timer is set for it."""
    fn._prodkit_bounded = True  # type: ignore[attr-defined]
    return fn


def ended_by_timer(error: BaseException) -> bool:
    """Whether a cancellation came from a prodkit timer, rather than from a caller that went away."""
    return bool(error.args) and error.args[0] is _OUR_TIMER


class _Expiry:
    __slots__ = ("fired", "task")

    def __init__(self, task: asyncio.Task[Any]) -> None:
        self.task = task
        self.fired = False

    def __call__(self) -> None:
        self.fired = True
        self.task.cancel(_OUR_TIMER)


async def _within(seconds: float, fn: AsyncFn, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
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
            if task.uncancel() <= before:  # nobody else wants this task cancelled
                raise _expired(seconds, when - now, deadline < end) from error
        raise
    finally:
        timer.cancel()
        if expiry.fired:  # it answered, or failed otherwise, in spite of the cancellation
            task.uncancel()


def _expired(seconds: float, given: float, by_deadline: bool) -> CallTimeoutError:
    if by_deadline:
        return DeadlineExceededError(f"the deadline passed {given:.3g} s into the call", timeout=given)
    return CallTimeoutError(f"no answer within {seconds:g} s", timeout=seconds)


def _aiter(fn: StreamFn, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return fn(*args, **kwargs).__aiter__()
