"""The running loop's time, at nearly the price of the system's: for the paths that every healthy call takes.

Asking which loop runs costs more than everything else that a breaker does. So the first call in a context
asks, and leaves the answer in a ContextVar that the rest of the context (one task, and the tasks it starts)
reads. On a loop that keeps the system's monotonic time the answer is :func:`time.monotonic` itself; on any
other, virtual time included, it is the clock.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import TypeAlias

from prodkit.core.clock import Clock, LoopClock

__all__ = ["Ticks", "ticks_of"]

Ticks: TypeAlias = Callable[[], float]

_CLOCK = LoopClock()


def ticks_of(clock: Clock) -> Callable[[], Ticks]:
    """A function that returns the function to read `clock` with, here and for the length of this call."""
    if type(clock) is LoopClock:
        return _ticks.get
    return lambda: clock.monotonic


def _discover() -> float:
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return time.monotonic()  # a thread: its context may be carried into a loop, so nothing is kept
    if type(loop).time is asyncio.BaseEventLoop.time:
        _ticks.set(time.monotonic)
        return time.monotonic()
    _ticks.set(_CLOCK.monotonic)
    return loop.time()


_ticks: ContextVar[Ticks] = ContextVar("prodkit_ticks", default=_discover)
