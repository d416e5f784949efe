"""One run in one worker: which steps are recorded, what is in flight, and why it was interrupted.

A run leaves its worker in one of these ways::

    body returns            → finish "done"
    body raises             → release with a delay, or finish "dead"
    sleep() or signal()     → blocked; when no step is in flight: release until due     ("suspend")
    worker shuts down       → further steps block; when none is in flight: release now  ("handover")
    cancelled or overtaken  → interrupted at once, nothing is written                   ("lost")

Blocking instead of raising keeps this invisible to the body: ``gather``, ``TaskGroup`` and ``except Exception`` see
nothing but a step that does not return, and steps in flight beside it are recorded before the run is given back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import Context, ContextVar
from typing import Any, Literal, TypeAlias, TypeVar

from prodkit.core.clock import Clock
from prodkit.core.events import EventStream
from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.jobs.engine import Engine
from prodkit.jobs.errors import RunLostError
from prodkit.jobs.values import SEPARATOR, Claim, Recorded, Write

__all__ = ["CURRENT", "Execution", "Interrupt", "detached", "inline"]

T = TypeVar("T")
Interrupt: TypeAlias = Literal["", "suspend", "handover", "lost", "cancelled"]

_QUIET = 0.05
"""Seconds without a step in flight after which a run that waits is given back."""

CURRENT: ContextVar[Execution | None] = ContextVar("prodkit_jobs_run", default=None)


class Execution:
    """The state of one claimed run.

    Args:
        claim: the run and its fence; None for a body that is called in place.
        engine: where results go.
        runtime: clock and events.
        channel: a ``progress.Channel``, or None.
        vacate: called when the body has ended, before its end is written.
    """

    __slots__ = (
        "_asleep",
        "_beside",
        "_blocked",
        "_busy",
        "_closing",
        "_due",
        "_ended",
        "_signals",
        "_task",
        "_vacate",
        "_waits",
        "channel",
        "claim",
        "clock",
        "engine",
        "events",
        "in_flight",
        "interrupted",
        "reason",
        "recorded",
        "runtime",
        "used",
    )

    def __init__(
        self,
        claim: Claim | None,
        engine: Engine | None,
        *,
        runtime: Runtime = SYSTEM,
        channel: Any = None,
        vacate: Callable[[], None] | None = None,
    ) -> None:
        self.claim: Claim | None = claim
        self.engine: Engine | None = engine
        self.runtime: Runtime = runtime
        self.clock: Clock = runtime.clock
        self.events: EventStream = runtime.events
        self.channel: Any = channel
        self.recorded: dict[str, Recorded] = dict(claim.steps) if claim is not None else {}
        self.used: set[str] = set()
        self.in_flight: int = 0
        self.reason: Interrupt = ""
        self.interrupted: int = 0
        self._busy: set[str] = set()
        self._blocked = 0
        self._closing = False
        self._due: float | None = None
        self._ended = False
        self._signals: set[str] = set()
        self._asleep = False
        self._task: asyncio.Task[Any] | None = None
        self._vacate = vacate
        self._waits: set[asyncio.Future[None]] = set()
        self._beside: set[asyncio.Task[Any]] = set()

    @property
    def wakes(self) -> tuple[float, str | None]:
        """Seconds until a suspended run is due, and the signals of which each makes it due sooner."""
        left = float("inf") if self._due is None else max(0.0, self._due - self.clock.monotonic())
        return left, SEPARATOR.join(sorted(self._signals)) or None

    async def now(self) -> float:
        """Return seconds on the engine's clock, the same for all workers."""
        return self.clock.monotonic() if self.engine is None else await self.engine.now()

    def ends_with(self, error: BaseException) -> bool:
        """Return True if `error` ends the worker or its event loop, not just this run."""
        if isinstance(error, asyncio.CancelledError | GeneratorExit):
            try:
                task = asyncio.current_task()
            except RuntimeError:  # no event loop any more: the garbage collector closes the body
                return True
            return task is not self._task or (task is not None and task.cancelling() > 0)
        return isinstance(error, KeyboardInterrupt)

    def attach(self, task: asyncio.Task[Any] | None) -> None:
        """Remember the task that :meth:`interrupt` cancels."""
        self._task = task

    def tidy(self) -> None:
        """End what the body has left behind in tasks of its own."""
        for wait in tuple(self._waits):
            wait.cancel()
        if self.reason:
            for task in self._beside - {self._task}:
                task.cancel()

    def vacate(self) -> None:
        """Free the worker's slot, once: the end of the run is being written, and an interruption cancels nothing."""
        self._ended = True
        self.tidy()
        vacate, self._vacate = self._vacate, None
        if vacate is not None:
            vacate()

    def reserve(self, name: str) -> None:
        """Note that the step `name` runs; raise when it is already running or was already done in this body."""
        if name in self._busy or name in self.used:
            raise ValueError(
                f"the step {name!r} is used twice in one run: give each step its own name, such as {name + ':2'!r}"
            )
        self._busy.add(name)

    def unreserve(self, name: str, *, done: bool) -> None:
        """End what :meth:`reserve` began. A step that failed may be called again under its name."""
        self._busy.discard(name)
        if done:
            self.used.add(name)

    async def enter(self) -> None:
        """Wait for permission to start a step; never returns once the run is to leave this worker."""
        if self._closing or self.reason:
            await self.block()
        self.in_flight += 1
        task = asyncio.current_task()
        if task is not None:
            self._beside.add(task)

    def leave(self) -> None:
        """A step ended."""
        self.in_flight -= 1
        task = asyncio.current_task()
        if task is not None:
            self._beside.discard(task)
        self._settle()

    async def block(self) -> None:
        """Wait for the interruption of the run."""
        self._blocked += 1
        wait: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waits.add(wait)
        self._settle()
        try:
            await wait
        finally:
            self._blocked -= 1
            self._waits.discard(wait)

    async def suspend(self, seconds: float | None, signal: str | None = None) -> None:
        """Give the run back until `seconds` from now, or until `signal`; never returns."""
        if seconds is not None:
            due = self.clock.monotonic() + seconds
            self._due = due if self._due is None else min(self._due, due)
        if signal is not None:
            self._signals.add(signal)
        self._asleep = True
        await self.block()

    def close(self) -> None:
        """The worker shuts down: start no further step, and leave when none is in flight."""
        self._closing = True
        self._settle()

    def interrupt(self, reason: Interrupt) -> None:
        """Cancel the body, unless it has ended. The first reason counts."""
        if not self.reason and self._task is not None and not self._task.done():
            self.reason = reason
            self.interrupted = self.in_flight
            if not self._ended:
                self._task.cancel()

    def _settle(self) -> None:
        if self._blocked and not self.in_flight and not self.reason:
            if self._closing:
                self.interrupt("handover")
            elif self._asleep:  # siblings of the sleeping call may be about to start steps of their own
                asyncio.get_running_loop().call_later(_QUIET, self._suspend_if_quiet)

    def _suspend_if_quiet(self) -> None:
        if self._blocked and not self.in_flight:
            self.interrupt("suspend")

    async def record(
        self, name: str, row: Recorded, write: Write | None = None, *, forget: bool = False
    ) -> None:
        """Write a step under the fence, also when the caller's deadline has passed or it is being cancelled."""
        if self.claim is None or self.engine is None:
            return
        held = await detached(self.engine.record(self.claim, name, row, write, forget=forget))
        await self._held(held)
        if not forget:
            self.recorded[name] = row

    async def append(self, name: str, first: int, chunks: list[str]) -> None:
        """Write chunks of a streamed step under the fence."""
        if self.claim is not None and self.engine is not None:
            await self._held(await detached(self.engine.append(self.claim, name, first, chunks)))

    async def _held(self, held: bool) -> None:
        if not held:
            self.interrupt("lost")
            if asyncio.current_task() is self._task:
                await asyncio.get_running_loop().create_future()
            raise RunLostError(f"run {self.claim and self.claim.run_id} is no longer held by this worker")


async def detached(work: Awaitable[T]) -> T:
    """Await `work` in a task without the caller's deadline; a cancellation of the caller does not cut it short."""

    async def run() -> T:
        return await work

    return await asyncio.shield(asyncio.get_running_loop().create_task(run(), context=Context()))


async def inline(fn: Callable[..., Awaitable[T]], *args: Any, **kwargs: Any) -> T:
    """Call the body of a job in place: its steps run, and nothing is recorded."""
    token = CURRENT.set(Execution(None, None))
    try:
        return await fn(*args, **kwargs)
    finally:
        CURRENT.reset(token)
