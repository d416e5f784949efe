"""Timeout: end an attempt at its own limit or at the caller's deadline, whichever is sooner."""

from __future__ import annotations

import math
from typing import Any

from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.core.validate import Arguments
from prodkit.policies.base import AsyncFn, Policy, StreamFn
from prodkit.policies.block import Scope
from prodkit.policies.deadline_guard import bounded, limit_items, within

__all__ = ["Timeout"]


class Timeout(Policy):
    """Cancel a call that takes longer than `seconds`, and wait until its cleanup has run.

    The sooner of `seconds` and the :class:`~prodkit.Deadline` in force ends the attempt: the first with
    :class:`CallTimeoutError`, the second with :class:`DeadlineExceededError`. Both mean that the call was
    started and that its effect is unknown, except when the error's ``timeout`` is 0.0: then it was not
    started. A cancellation from outside stays a cancellation.

    On an async generator `seconds` bounds the wait for each item, the deadline bounds them all. A thread
    cannot be stopped, so synchronous functions are refused::

        >>> @Timeout(5)
        ... async def research(topic: str) -> str: ...

    Args:
        seconds: the limit of one attempt, in seconds; None leaves only the deadline.
        runtime: clock, randomness and events; the default suits one service per process.

    Raises:
        CallTimeoutError: `seconds` had passed.
        DeadlineExceededError: the caller's deadline had passed.
    """

    rank = 0  # outside it bounds everything, inside the attempt: both make sense

    seconds: float | None
    runtime: Runtime

    def __init__(self, seconds: float | None, *, runtime: Runtime = SYSTEM) -> None:
        check = Arguments("Timeout")
        check.seconds("seconds", seconds, optional=True)
        check.instance("runtime", runtime, Runtime, "a Runtime")
        check.done()
        self.seconds = seconds
        self.runtime = runtime

    def wrap(self, fn: AsyncFn) -> AsyncFn:
        """Return the guarded form of the async function `fn`."""
        seconds = math.inf if self.seconds is None else self.seconds

        async def timed(*args: Any, **kwargs: Any) -> Any:
            return await within(seconds, fn, args, kwargs)

        return bounded(timed)

    def wrap_stream(self, fn: StreamFn) -> StreamFn:
        """Return the guarded form of the async generator function `fn`."""
        return limit_items(math.inf if self.seconds is None else self.seconds, fn)

    def scope(self) -> Scope:
        """Return a guard for one block."""
        return _TimeoutScope(math.inf if self.seconds is None else self.seconds)

    def __repr__(self) -> str:
        return f"Timeout({self.seconds!r})"


class _TimeoutScope(Scope):
    __slots__ = ("seconds",)

    def __init__(self, seconds: float) -> None:
        self.seconds: float = seconds

    async def enter(self) -> None: ...
