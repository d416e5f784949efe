"""Shutting down without cutting anybody off.

A server that gets SIGTERM waits for its open responses *before* it runs the app's shutdown. An endless event stream
would keep it waiting until it is killed, and nothing would be closed. So streams watch a :class:`Drain`, which
begins at the signal: they end, their browsers reconnect to the next process, and readiness says 503.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

from prodkit.core.events import Event, Metric
from prodkit.core.runtime import SYSTEM, Runtime

__all__ = ["Drain", "DrainStarted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainStarted(Event):
    """The process takes no new work; `waiting` streams and jobs were told."""

    name = "web.drain_started"
    level = "INFO"
    metric = Metric("drains", help="Shutdowns that began.")
    waiting: int


class Drain:
    """The shutdown notice of one process.

    ::

        drain = Drain()

        @asynccontextmanager
        async def lifespan(app):
            with drain.on_signals():     # SIGTERM and SIGINT begin it, then go on to the server
                yield

    Work that lasts waits for :meth:`wait`, or asks ``drain.begun`` between its steps.
    """

    def __init__(self, *, runtime: Runtime = SYSTEM) -> None:
        self.begun = False
        self._runtime = runtime
        self._waiting: set[asyncio.Future[None]] = set()

    def begin(self) -> None:
        """Says it to everybody who waits; more than once is no harm. Call it on the event loop."""
        if self.begun:
            return
        self.begun = True
        waiting, self._waiting = self._waiting, set()
        for future in waiting:
            if not future.done():
                future.set_result(None)
        if self._runtime.events.listened(DrainStarted):
            self._runtime.events.emit(DrainStarted(waiting=len(waiting)))

    async def wait(self) -> None:
        """Returns when it has begun."""
        if self.begun:
            return
        future = asyncio.get_running_loop().create_future()
        self._waiting.add(future)
        try:
            await future
        finally:
            self._waiting.discard(future)

    @contextmanager
    def on_signals(
        self, signals: Iterable[signal.Signals] = (signal.SIGTERM, signal.SIGINT)
    ) -> Iterator[Drain]:
        """Begins at one of `signals`, and hands each on to whoever handled it before (the server).

        Enter it while the loop runs and after the server has set its own handlers: a lifespan does both. Outside
        the main thread Python allows no handlers; the block then only runs.
        """
        loop = asyncio.get_running_loop()
        before: dict[signal.Signals, Any] = {}

        def handle(number: int, frame: FrameType | None) -> None:
            loop.call_soon_threadsafe(self.begin)
            previous = before.get(signal.Signals(number))
            if callable(previous):
                previous(number, frame)
            elif previous == signal.SIG_DFL:
                signal.signal(number, signal.SIG_DFL)
                signal.raise_signal(number)

        if threading.current_thread() is threading.main_thread():
            for each in signals:
                before[each] = signal.getsignal(each)
                signal.signal(each, handle)
        try:
            yield self
        finally:
            for each, previous in before.items():
                if signal.getsignal(each) is handle:
                    signal.signal(each, previous)

    def __repr__(self) -> str:
        return f"Drain(begun={self.begun}, waiting={len(self._waiting)})"
