"""The running loop's time at nearly the price of the system's: for the paths that every healthy call takes.

Asking which loop runs costs more than everything else that a breaker does. So the first call in a context asks, and
leaves the answer in a ContextVar that the rest of the context (one task, and the tasks it starts) reads. On a loop that
keeps the system's monotonic time the answer is :func:`time.monotonic` itself; on any other, virtual time included, it
is the clock.
"""

from __future__ import annotations

import asyncio
import time
from asyncio import _get_running_loop
from collections.abc import Callable
from contextvars import ContextVar
from typing import TypeAlias

from prodkit.core.clock import Clock, LoopClock

__all__ = ["FastClock", "fast_clock_of", "thread_clock_of"]

FastClock: TypeAlias = Callable[[], float]

_CLOCK = LoopClock()


def fast_clock_of(clock: Clock) -> Callable[[], FastClock]:
    """Return a function that returns the function to read `clock` with, here and for the length of this call."""
    if type(clock) is LoopClock:
        return _fast.get
    return lambda: clock.monotonic


def thread_clock_of(clock: Clock) -> Callable[[], FastClock]:
    """Return the same for plain functions, which mostly run where no loop does."""
    if type(clock) is LoopClock:
        return lambda: time.monotonic if _get_running_loop() is None else _fast.get()
    return lambda: clock.monotonic


def _discover() -> float:
    loop = _get_running_loop()
    if loop is None:
        return time.monotonic()  # a thread: its context may be carried into a loop, so nothing is kept
    if type(loop).time is asyncio.BaseEventLoop.time:
        _fast.set(time.monotonic)
        return time.monotonic()
    _fast.set(_CLOCK.monotonic)
    return loop.time()


_fast: ContextVar[FastClock] = ContextVar("prodkit_fast_clock", default=_discover)
