"""The runs of :class:`~prodkit.jobs.MemoryEngine`, and what callers do with them: look, cancel, retry, purge."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from prodkit.core.clock import Clock
from prodkit.jobs.values import FINISHED, SEPARATOR, KindStats, NewRun, Recorded, Run, RunStatus, Stats

__all__ = ["MemoryRuns", "Row"]

NEVER: Final = 1e9
"""Seconds from which a delay means "not by itself"."""


@dataclass(slots=True, kw_only=True)
class Row:
    """A run."""

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


def awaited(row: Row) -> bool:
    """Return True when a signal is there for which the run waits."""
    return row.signal is not None and any(name in row.signals for name in row.signal.split(SEPARATOR))


class MemoryRuns:
    """The half of :class:`~prodkit.jobs.MemoryEngine` that no worker needs.

    Args:
        clock: moves timers and stamps runs.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._rows: dict[UUID, Row] = {}
        self._numbers = itertools.count(1)
        self._ticks: dict[str, float] = {}
        self._work: set[Callable[[], None]] = set()
        self._cancels: set[Callable[[UUID], None]] = set()

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
        return self._stats(list(self._rows.values()))

    async def kinds(self) -> tuple[KindStats, ...]:
        """Return the queue in numbers for each job that has something to show, by name."""
        by_kind: dict[str, list[Row]] = {}
        for row in self._rows.values():
            by_kind.setdefault(row.new.kind, []).append(row)
        since = self._clock.monotonic() - 60
        found: tuple[KindStats, ...] = ()
        for kind, rows in sorted(by_kind.items()):
            of = self._stats(rows)
            ended = sum(row.status in FINISHED and row.finished_at > since for row in rows)
            if ended or of.queued or of.running or of.waiting or of.dead:
                found += (
                    KindStats(
                        kind=kind,
                        queued=of.queued,
                        due=of.due,
                        running=of.running,
                        waiting=of.waiting,
                        dead=of.dead,
                        ended=ended,
                        oldest_due=of.oldest_due,
                    ),
                )
        return found

    def _stats(self, rows: Sequence[Row]) -> Stats:
        now = self._clock.monotonic()
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

    def _end(self, row: Row, status: RunStatus) -> None:
        row.status, row.worker = status, None
        row.finished, row.finished_at = self._clock.now(), self._clock.monotonic()

    def _notify(self) -> None:
        for each in tuple(self._work):
            each()

    def _run(self, row: Row) -> Run:
        new = row.new
        due = row.created + timedelta(seconds=min(max(0.0, row.due), NEVER))
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
