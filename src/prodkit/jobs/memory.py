"""Runs in this process, for unit tests: the same worker, on virtual time if the test wants it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.jobs.engine import (
    FINISHED,
    Claim,
    Enqueued,
    NewRun,
    Recorded,
    Run,
    RunStatus,
    Stats,
    Tick,
    Write,
)
from prodkit.jobs.errors import RunLostError

__all__ = ["MemoryEngine"]

_NEVER = 1e9


@dataclass(slots=True, kw_only=True)
class _Row:
    new: NewRun
    number: int
    created: datetime
    due: float
    deadline: float | None
    status: RunStatus = "queued"
    fence: int = 0
    takes: int = 0
    crashes: int = 0
    attempts: int = 0
    held_back: bool = False
    worker: UUID | None = None
    beat: float = 0.0
    signal: str | None = None
    result: str = ""
    error: str = ""
    started: datetime | None = None
    finished: datetime | None = None
    finished_at: float = 0.0
    steps: dict[str, Recorded] = field(default_factory=dict)
    chunks: dict[str, dict[int, str]] = field(default_factory=dict)
    signals: dict[str, str] = field(default_factory=dict)


class MemoryEngine:
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
        self._clock = runtime.clock
        self._rows: dict[UUID, _Row] = {}
        self._numbers = itertools.count(1)
        self._ticks: dict[str, float] = {}
        self._work: set[Callable[[], None]] = set()
        self._cancels: set[Callable[[UUID], None]] = set()

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
        self._rows[new.id] = _Row(
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

    def _take(self, row: _Row, worker: UUID, now: float) -> Claim:
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

    def _held(self, claim: Claim) -> _Row | None:
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

    def _end(self, row: _Row, status: RunStatus) -> None:
        row.status, row.worker = status, None
        row.finished, row.finished_at = self._clock.now(), self._clock.monotonic()

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
        row.due = self._clock.monotonic() + (0.0 if signal in row.signals else min(delay, _NEVER))
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
        if row.status == "waiting" and row.signal == name:
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

    async def purge(self, *, older: float, limit: int = 1000, dead: bool = False) -> int:
        """Remove finished runs.

        Args:
            older: seconds since the end.
            limit: the limit.
            dead: remove dead letters too.
        """
        since = self._clock.monotonic() - older
        gone = [
            run_id
            for run_id, row in self._rows.items()
            if row.status in FINISHED and (dead or row.status != "dead") and row.finished_at < since
        ][:limit]
        for run_id in gone:
            del self._rows[run_id]
        return len(gone)

    async def get(self, run_id: UUID) -> Run | None:
        """Return one run.

        Args:
            run_id: the id of the run.
        """
        row = self._rows.get(run_id)
        return None if row is None else self._run(row)

    async def list(
        self, *, status: RunStatus | None = None, kind: str | None = None, limit: int = 50
    ) -> list[Run]:
        """Return runs, the newest first.

        Args:
            status: where the run stands.
            kind: the name of the job.
            limit: the limit.
        """
        chosen = [
            row
            for row in self._rows.values()
            if status in (None, row.status) and kind in (None, row.new.kind)
        ]
        return [self._run(row) for row in sorted(chosen, key=lambda row: -row.number)[:limit]]

    async def cancel(self, run_id: UUID, connection: Any = None) -> bool:
        """End a run and interrupt its worker.

        Args:
            run_id: the id of the run.
            connection: a connection in a transaction of the caller, or None.
        """
        row = self._rows.get(run_id)
        if row is None or row.status in FINISHED:
            return False
        row.fence += 1
        self._end(row, "cancelled")
        for each in tuple(self._cancels):
            each(run_id)
        return True

    async def retry(self, run_id: UUID, *, forget: Sequence[str] = (), accept: bool = False) -> bool:
        """Queue a dead or cancelled run again.

        Args:
            run_id: the id of the run.
            forget: remove a ``started`` row (steps: names to call again).
            accept: use recorded results although their code has changed.
        """
        row = self._rows.get(run_id)
        if row is None or row.status not in ("dead", "cancelled"):
            return False
        row.status, row.finished, row.due, row.deadline = "queued", None, self._clock.monotonic(), None
        row.attempts = row.takes = row.crashes = 0
        row.fence += 1
        row.error = ""
        for name in forget:
            row.steps.pop(name, None)
            row.chunks.pop(name, None)
        if accept:
            row.steps = {name: Recorded(each.status, "", "", each.result) for name, each in row.steps.items()}
        self._notify()
        return True

    async def resolve(self, run_id: UUID, step: str, result: str) -> bool:
        """Record a step by hand.

        Args:
            run_id: the id of the run.
            step: the name of the step.
            result: JSON text.
        """
        row = self._rows.get(run_id)
        if row is not None:
            row.steps[step] = Recorded("done", "", "", result)
        return row is not None

    async def stats(self) -> Stats:
        """Return the queue in numbers."""
        now, rows = self._clock.monotonic(), list(self._rows.values())
        due = [row for row in rows if row.status == "queued" and row.due <= now and not row.held_back]
        running = [row for row in rows if row.status == "running"]
        moment = self._clock.now()
        return Stats(
            queued=sum(row.status == "queued" for row in rows),
            due=len(due),
            running=len(running),
            waiting=sum(row.status == "waiting" for row in rows),
            dead=sum(row.status == "dead" for row in rows),
            oldest_due=max((now - row.due for row in due), default=0.0),
            oldest_running=max(
                ((moment - row.started).total_seconds() for row in running if row.started), default=0.0
            ),
            workers=len({row.worker for row in running}),
        )

    def listen(self, on_work: Callable[[], None], on_cancel: Callable[[UUID], None]) -> _Listener:
        """Return the source of notifications.

        Args:
            on_work: called when a run may be due.
            on_cancel: called with the id of a cancelled run.
        """
        return _Listener(self, on_work, on_cancel)

    def _notify(self) -> None:
        for each in tuple(self._work):
            each()

    def _run(self, row: _Row) -> Run:
        new = row.new
        due = row.created + timedelta(seconds=min(max(0.0, row.due), _NEVER))
        return Run(
            id=new.id,
            kind=new.kind,
            status=row.status,
            key=new.key,
            tenant=new.tenant,
            priority=new.priority,
            attempts=row.attempts,
            takes=row.takes,
            fence=row.fence,
            arguments=new.arguments,
            result=row.result,
            error=row.error,
            steps=tuple(name for name, each in row.steps.items() if each.status == "done"),
            created_at=row.created,
            due_at=due,
            started_at=row.started,
            finished_at=row.finished,
        )


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
