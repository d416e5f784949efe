"""Shut down without losing a request.

A server that gets SIGTERM closes its socket at once and waits for its open responses *before* it runs the app's
shutdown. Two things go wrong: a balancer still sends requests to a closed socket, and an endless event stream keeps
the server waiting until it is killed. A :class:`Drain` begins at the signal::

    SIGTERM ──► begin: readiness 503, answers carry Connection: close, streams and sockets end
                 │  … `delay` seconds: the process still serves, the balancer takes it out of rotation …
                 └► the signal reaches the server, which closes its socket and runs the app's shutdown
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any, ClassVar

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from prodkit.core.events import Event, Level, Metric, Metrics
from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.core.validate import Arguments
from prodkit.web.asgi import add_header, on_start

__all__ = ["Drain", "DrainMiddleware", "DrainStarted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainStarted(Event):
    """The process began to shut down.

    Args:
        waiting: streams, sockets and jobs that end because of it.
    """

    name = "web.drain_started"
    level: ClassVar[Level] = "INFO"
    metric: ClassVar[Metrics] = Metric("drains", help="Shutdowns that began.")
    waiting: int


class Drain:
    """The shutdown notice of one process.

    ::

        drain = Drain(delay=10)

        @asynccontextmanager
        async def lifespan(app):
            with drain.on_signals():     # SIGTERM and SIGINT begin it, and reach the server 10 s later
                yield

    Work that lasts waits for :meth:`wait`, or asks ``drain.begun`` between its steps.

    Args:
        delay: seconds between a signal and the moment in which the server gets it. Set it to the time your balancer
            needs to react to a readiness of 503 (period × failures, plus a second); 0 for a process that no balancer
            watches. A second signal is passed on at once.
        runtime: receives the events.
    """

    def __init__(self, *, delay: float = 0.0, runtime: Runtime = SYSTEM) -> None:
        check = Arguments("Drain")
        check.seconds("delay", delay, zero=True)
        check.done()
        self.begun: bool = False
        self.delay: float = delay
        self._runtime = runtime
        self._waiting: set[asyncio.Future[None]] = set()

    def begin(self) -> None:
        """Notify everything that waits; more than once does no harm. Call it on the event loop."""
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
        """Return when the drain has begun."""
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
        """Begin at one of `signals`, and pass it after `delay` to the handler that was set before (the server's).

        Enter it while the loop runs and after the server has set its own handlers: a lifespan does both. Outside
        the main thread Python allows no handlers; the block then only runs.
        """
        loop = asyncio.get_running_loop()
        before: dict[signal.Signals, Any] = {}
        delayed: list[asyncio.TimerHandle] = []

        def pass_on(number: int, frame: FrameType | None) -> None:
            previous = before.get(signal.Signals(number))
            if callable(previous):
                previous(number, frame)
            elif previous == signal.SIG_DFL:
                signal.signal(number, signal.SIG_DFL)
                signal.raise_signal(number)

        def later(number: int) -> None:
            self.begin()
            delayed.append(loop.call_later(self.delay, pass_on, number, None))

        def handle(number: int, frame: FrameType | None) -> None:
            if self.delay and not delayed and not self.begun:
                loop.call_soon_threadsafe(later, number)
                return
            loop.call_soon_threadsafe(self.begin)
            pass_on(number, frame)

        if threading.current_thread() is threading.main_thread():
            for each in signals:
                before[each] = signal.getsignal(each)
                signal.signal(each, handle)
        try:
            yield self
        finally:
            for timer in delayed:
                timer.cancel()
            for each, previous in before.items():
                if signal.getsignal(each) is handle:
                    signal.signal(each, previous)

    def __repr__(self) -> str:
        return f"Drain(begun={self.begun}, delay={self.delay:g}, waiting={len(self._waiting)})"


class DrainMiddleware:
    """Add ``Connection: close`` to answers while the process drains, and hand the drain to event streams.

    The client then sends its next request over a new connection, which reaches another process, instead of over one
    that the server is about to close. HTTP/2 has no such header; servers send GOAWAY there.

    Args:
        app: the ASGI app.
        drain: the process's drain.
    """

    def __init__(self, app: ASGIApp, *, drain: Drain) -> None:
        self.app = app
        self._drain = drain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["prodkit.drain"] = self._drain
        if scope["type"] != "http" or not scope.get("http_version", "1.1").startswith("1"):
            await self.app(scope, receive, send)
            return

        send, hooks = on_start(scope, send, self._close)
        try:
            await self.app(scope, receive, send)
        finally:
            hooks.pop()

    def _close(self, message: Message) -> None:
        if self._drain.begun:
            add_header(message, b"connection", "close")
