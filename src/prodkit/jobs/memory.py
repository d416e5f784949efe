"""Runs in this process, for unit tests: the same worker, on virtual time if the test wants it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any
from uuid import UUID

from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.jobs.errors import RunLostError
from prodkit.jobs.memory_runs import NEVER, MemoryRuns, Row, awaited
from prodkit.jobs.values import (
    FINISHED,
    Claim,
    Enqueued,
    NewRun,
    Recorded,
    RunStatus,
    Tick,
    Write,
)

__all__ = ["MemoryEngine"]


class MemoryEngine(MemoryRuns):
    """Keeps runs in memory; lost with the process, so for tests only.

    ::

        @virtual_time
        async def test_reminders():
            engine = jobs.MemoryEngine()
            run = await remind.enqueue(engine, "ana")
            async with jobs.Worker(engine, [remind]):
                await jobs.Runs(engine).result(run.id, timeout=7 * 86400)

    Args:
        runtime: the clock; give it to the worker too.
    """

    def __init__(self, *, runtime: Runtime = SYSTEM) -> None:
        super().__init__(runtime.clock)

    @property
    def name(self) -> str:
        """The engine in health reports."""
        return "memory"

    async def prepare(self) -> None:
        """Memory is always ready."""

    async def now(self) -> float:
        """Return the loop's time, so that timers pass on virtual time."""
        return self._clock.monotonic()

    async def enqueue(self, new: NewRun, connection: Any = None) -> Enqueued:
        """Add a run.

        Args:
            new: the run.
            connection: a connection in a transaction of the caller, or None.
        """
        if new.key is not None:
            for row in self._rows.values():
                if (row.new.kind, row.new.key) == (new.kind, new.key):
                    return Enqueued(row.new.id, False)
        now = self._clock.monotonic()
        self._rows[new.id] = Row(
            new=new,
            number=next(self._numbers),
            created=self._clock.now(),
            due=now + new.delay,
            deadline=None if new.deadline is None else now + new.deadline,
            held_back=bool(new.tenant_limit) and self._active(new.kind, new.tenant) >= new.tenant_limit,
        )
        self._notify()
        return Enqueued(new.id)

    async def claim(self, worker: UUID, limits: Mapping[str, int], count: int, stale: float) -> list[Claim]:
        """Take due runs, the highest priority first.

        Args:
            worker: the id of the worker.
            limits: the kinds to take, each with its limit for the whole fleet (0: none).
            count: at most so many.
            stale: seconds of silence after which a worker counts as gone.
        """
        now = self._clock.monotonic()
        found: list[Claim] = []
        for row in sorted(self._rows.values(), key=lambda row: (-row.new.priority, row.number)):
            kind = row.new.kind
            if len(found) == count or kind not in limits:
                continue
            abandoned = row.status == "running" and row.beat < now - stale
            due = row.status in ("queued", "waiting") and row.due <= now and not row.held_back
            running = sum(each.status == "running" and each.new.kind == kind for each in self._rows.values())
            if abandoned or (due and (not limits[kind] or running < limits[kind])):
                found.append(self._take(row, worker, now))
        return found

    def _take(self, row: Row, worker: UUID, now: float) -> Claim:
        row.crashes += row.status == "running"
        row.status, row.worker, row.beat, row.signal = "running", worker, now, None
        row.fence += 1
        row.takes += 1
        row.started = row.started or self._clock.now()
        return Claim(
            run_id=row.new.id,
            kind=row.new.kind,
            fence=row.fence,
            arguments=row.new.arguments,
            attempts=row.attempts,
            takes=row.takes,
            crashes=row.crashes,
            waited=max(0.0, now - row.due),
            left=None if row.deadline is None else row.deadline - now,
            tenant=row.new.tenant,
            steps=dict(row.steps),
            queue_id=row.number,
        )

    def _held(self, claim: Claim) -> Row | None:
        row = self._rows.get(claim.run_id)
        return row if row is not None and row.fence == claim.fence and row.status == "running" else None

    async def beat(self, worker: UUID, claims: Sequence[Claim]) -> set[UUID]:
        """Renew claims that are still held.

        Args:
            worker: the id of the worker.
            claims: the runs and their fences.
        """
        held = {claim.run_id for claim in claims if self._held(claim) is not None}
        for run_id in held:
            self._rows[run_id].beat = self._clock.monotonic()
        return held

    async def record(
        self, claim: Claim, name: str, row: Recorded, write: Write | None = None, *, forget: bool = False
    ) -> bool:
        """Record a step.

        Args:
            claim: the run and its fence.
            name: the name of the step, signal or schedule.
            row: the step as it is recorded.
            write: rows of the caller, written in the same transaction.
            forget: remove a ``started`` row (steps: names to call again).
        """
        held = self._held(claim)
        if held is None:
            return False
        if forget:
            held.steps.pop(name, None)
            return True
        if write is not None:
            await write(None)
        held.steps[name] = row
        return True

    async def append(self, claim: Claim, step: str, first: int, chunks: Sequence[str]) -> bool:
        """Append chunks to a streamed step.

        Args:
            claim: the run and its fence.
            step: the name of the step.
            first: the number of the first chunk.
            chunks: texts.
        """
        held = self._held(claim)
        if held is None:
            return False
        for number, chunk in enumerate(chunks, first):
            held.chunks.setdefault(step, {}).setdefault(number, chunk)
        return True

    async def chunks(self, run_id: UUID, step: str) -> list[str]:
        """Return the chunks of a streamed step.

        Args:
            run_id: the id of the run.
            step: the name of the step.
        """
        row = self._rows.get(run_id)
        return [] if row is None else [chunk for _, chunk in sorted(row.chunks.get(step, {}).items())]

    async def finish(self, claim: Claim, status: RunStatus, *, result: str = "", error: str = "") -> bool:
        """End a run.

        Args:
            claim: the run and its fence.
            status: where the run stands.
            result: JSON text.
            error: ``Class: message``.
        """
        row = self._held(claim)
        if row is None:
            return False
        row.result, row.error = result, error
        row.attempts += status == "dead"
        self._end(row, status)
        return True

    async def release(
        self, claim: Claim, *, delay: float, error: str = "", failed: bool = False, signal: str | None = None
    ) -> bool:
        """Give a run back.

        Args:
            claim: the run and its fence.
            delay: seconds until the run is due.
            error: ``Class: message``.
            failed: count a failed attempt.
            signal: a signal that makes it due sooner.
        """
        row = self._held(claim)
        if row is None:
            return False
        row.status = "queued" if signal is None else "waiting"
        row.signal, row.worker, row.error = signal, None, error
        row.attempts += failed
        row.due = self._clock.monotonic() + (0.0 if awaited(row) else min(delay, NEVER))
        self._notify()
        return True

    async def take_signal(self, run_id: UUID, name: str) -> str | None:
        """Return a signal's data, or None.

        Args:
            run_id: the id of the run.
            name: the name of the step, signal or schedule.
        """
        row = self._rows.get(run_id)
        return None if row is None else row.signals.get(name)

    async def send_signal(self, run_id: UUID, name: str, data: str) -> bool:
        """Store a signal; the first of its name counts.

        Args:
            run_id: the id of the run.
            name: the name of the step, signal or schedule.
            data: JSON text.
        """
        row = self._rows.get(run_id)
        if row is None or row.status in FINISHED:
            return False
        row.signals.setdefault(name, data)
        if row.status == "waiting" and awaited(row):
            row.status, row.signal, row.due = "queued", None, self._clock.monotonic()
        self._notify()
        return True

    def transaction(self, claim: Claim) -> AbstractAsyncContextManager[Any]:
        """Hold the run; nothing is rolled back.

        Args:
            claim: the run and its fence.
        """
        return self._open(claim)

    @asynccontextmanager
    async def _open(self, claim: Claim) -> AsyncIterator[None]:
        if self._held(claim) is None:
            raise RunLostError(f"run {claim.run_id} is no longer held by this worker")
        yield None

    async def tick(self, name: str, period: Callable[[float], tuple[float, float]], new: NewRun) -> Tick:
        """Enqueue the run of a due tick.

        Args:
            name: the name of the step, signal or schedule.
            period: returns the last tick and the next one for a moment.
            new: the run.
        """
        now = self._clock.monotonic()
        last, following = period(now)
        known = self._ticks.setdefault(name, last)
        if known >= last:
            return Tick(run=None, late=0.0, wait=following - now)
        self._ticks[name] = last
        added = await self.enqueue(new)
        return Tick(run=added.id, late=now - last, wait=following - now)

    async def promote(self, kind: str, tenant: str, limit: int) -> None:
        """Queue runs that were held back.

        Args:
            kind: the name of the job.
            tenant: whose runs.
            limit: the limit.
        """
        room = limit - self._active(kind, tenant)
        for row in self._rows.values():
            if room > 0 and row.held_back and (row.new.kind, row.new.tenant) == (kind, tenant):
                row.held_back = False
                room -= 1
        self._notify()

    async def held_back(self) -> list[tuple[str, str]]:
        """Return kind and tenant of every run that is held back."""
        return sorted(
            {
                (row.new.kind, row.new.tenant)
                for row in self._rows.values()
                if row.held_back and row.status == "queued" and row.new.tenant is not None
            }
        )

    def _active(self, kind: str, tenant: str | None) -> int:
        return sum(
            (row.new.kind, row.new.tenant) == (kind, tenant)
            and row.status in ("queued", "running")
            and not row.held_back
            for row in self._rows.values()
        )

    async def sweep(self) -> list[tuple[UUID, str]]:
        """Nothing is lost here."""
        return []

    def listen(self, on_work: Callable[[], None], on_cancel: Callable[[UUID], None]) -> _Listener:
        """Return the source of notifications.

        Args:
            on_work: called when a run may be due.
            on_cancel: called with the id of a cancelled run.
        """
        return _Listener(self, on_work, on_cancel)


class _Listener:
    def __init__(
        self, engine: MemoryEngine, on_work: Callable[[], None], on_cancel: Callable[[UUID], None]
    ) -> None:
        self._engine, self._on_work, self._on_cancel = engine, on_work, on_cancel

    async def run(self, on_mode: Callable[[str], None]) -> None:
        on_mode("")
        self._engine._work.add(self._on_work)
        self._engine._cancels.add(self._on_cancel)
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self._engine._work.discard(self._on_work)
            self._engine._cancels.discard(self._on_cancel)
