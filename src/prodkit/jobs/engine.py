"""The seam between jobs and the place that keeps them: the protocol of an engine.

:class:`~prodkit.jobs.PostgresEngine` stands on PgQueuer; :class:`~prodkit.jobs.MemoryEngine` serves unit tests on
virtual time. One suite (``prodkit.testing.contracts.JobsContract``) runs over both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, runtime_checkable
from uuid import UUID

from prodkit.jobs.values import (
    Claim,
    Enqueued,
    KindStats,
    NewRun,
    Recorded,
    Run,
    RunStatus,
    Stats,
    Tick,
    Write,
)

__all__ = ["Engine", "Listening"]


@runtime_checkable
class Engine(Protocol):
    """A place that keeps runs. Every write of a worker names its claim and is refused when the fence has moved."""

    @property
    def name(self) -> str:
        """The engine in health reports."""
        ...

    async def now(self) -> float:
        """Return seconds on a clock that all workers share."""
        ...

    async def prepare(self) -> None:
        """Check that the engine can be used; raise an error that says what to do otherwise."""
        ...

    async def enqueue(self, new: NewRun, connection: Any = None) -> Enqueued:
        """Add a run, in the transaction of `connection` where the engine has such.

        Args:
            new: the run.
        """
        ...

    async def claim(self, worker: UUID, limits: Mapping[str, int], count: int, stale: float) -> list[Claim]:
        """Take up to `count` runs of the kinds in `limits` that are due, or whose worker was silent for `stale` s.

        A limit of 0 is none; others hold for the whole fleet.

        Args:
            worker: the id of the worker.
        """
        ...

    async def beat(self, worker: UUID, claims: Sequence[Claim]) -> set[UUID]:
        """Renew `claims` and return the ids of those that are still held.

        Args:
            worker: the id of the worker.
        """
        ...

    async def record(
        self, claim: Claim, name: str, row: Recorded, write: Write | None = None, *, forget: bool = False
    ) -> bool:
        """Record a step; False when the run is no longer held. `forget` removes a ``started`` row instead.

        Args:
            claim: the run and its fence.
            name: the name of the step, signal or schedule.
            row: the step as it is recorded.
            write: rows of the caller, written in the same transaction.
        """
        ...

    async def append(self, claim: Claim, step: str, first: int, chunks: Sequence[str]) -> bool:
        """Append chunks numbered from `first` to a streamed step; False when the run is no longer held.

        Args:
            claim: the run and its fence.
            step: the name of the step.
            chunks: texts.
        """
        ...

    async def chunks(self, run_id: UUID, step: str) -> list[str]:
        """Return the chunks of a streamed step, in order.

        Args:
            run_id: the id of the run.
            step: the name of the step.
        """
        ...

    async def finish(self, claim: Claim, status: RunStatus, *, result: str = "", error: str = "") -> bool:
        """End a run; False when it is no longer held.

        Args:
            claim: the run and its fence.
            status: where the run stands.
            result: JSON text.
            error: ``Class: message``.
        """
        ...

    async def release(
        self, claim: Claim, *, delay: float, error: str = "", failed: bool = False, signal: str | None = None
    ) -> bool:
        """Give a run back: to be taken in `delay` seconds, or when `signal` arrives if that is sooner.

        Args:
            claim: the run and its fence.
            error: ``Class: message``.
            failed: count a failed attempt.
        """
        ...

    async def take_signal(self, run_id: UUID, name: str) -> str | None:
        """Return the JSON text that was sent to the run under this name, or None.

        Args:
            run_id: the id of the run.
            name: the name of the step, signal or schedule.
        """
        ...

    async def send_signal(self, run_id: UUID, name: str, data: str) -> bool:
        """Store a signal and make the run due; False when the run is unknown or finished.

        Args:
            run_id: the id of the run.
            name: the name of the step, signal or schedule.
            data: JSON text.
        """
        ...

    def transaction(self, claim: Claim) -> AbstractAsyncContextManager[Any]:
        """Open a transaction that holds the run; raise RunLostError when it is no longer held.

        Args:
            claim: the run and its fence.
        """
        ...

    async def tick(self, name: str, period: Callable[[float], tuple[float, float]], new: NewRun) -> Tick:
        """Enqueue `new` when a tick of the schedule is due and no other worker has done so.

        Args:
            name: the name of the step, signal or schedule.
            period: returns the last tick and the next one for a moment.
        """
        ...

    async def promote(self, kind: str, tenant: str, limit: int) -> None:
        """Queue runs of a tenant that were held back, as far as `limit` allows.

        Args:
            kind: the name of the job.
            tenant: whose runs.
        """
        ...

    async def held_back(self) -> list[tuple[str, str]]:
        """Return kind and tenant of every run that is held back."""
        ...

    async def sweep(self) -> list[tuple[UUID, str]]:
        """Queue unfinished runs that have no queue row; return their ids and kinds."""
        ...

    async def purge(self, *, older: float, limit: int = 1000, dead: bool = False) -> int:
        """Remove up to `limit` runs that ended more than `older` seconds ago, dead letters only where `dead`."""
        ...

    async def get(self, run_id: UUID) -> Run | None:
        """Return one run.

        Args:
            run_id: the id of the run.
        """
        ...

    async def list(
        self, *, status: RunStatus | None = None, kind: str | None = None, limit: int = 50
    ) -> list[Run]:
        """Return runs, the newest first, without their steps.

        Args:
            status: where the run stands.
            kind: the name of the job.
            limit: the limit.
        """
        ...

    async def cancel(self, run_id: UUID, connection: Any = None) -> bool:
        """End a run that has not finished; its worker is interrupted. False when there was nothing to end.

        Args:
            run_id: the id of the run.
            connection: a connection in a transaction of the caller, or None.
        """
        ...

    async def retry(self, run_id: UUID, *, forget: Sequence[str] = (), accept: bool = False) -> bool:
        """Queue a dead or cancelled run again; recorded steps stay, but for those in `forget`.

        Args:
            run_id: the id of the run.
            accept: use recorded results although their code has changed.
        """
        ...

    async def resolve(self, run_id: UUID, step: str, result: str) -> bool:
        """Record a step by hand; False when the run is unknown.

        Args:
            run_id: the id of the run.
            step: the name of the step.
            result: JSON text.
        """
        ...

    async def stats(self) -> Stats:
        """Return the queue in numbers."""
        ...

    async def kinds(self) -> tuple[KindStats, ...]:
        """Return the queue in numbers for each job that has something to show, by name."""
        ...

    def listen(self, on_work: Callable[[], None], on_cancel: Callable[[UUID], None]) -> Listening:
        """Return the source of notifications, not yet started.

        Args:
            on_work: called when a run may be due.
            on_cancel: called with the id of a cancelled run.
        """
        ...


class Listening(Protocol):
    """Notifications of an engine. Nothing depends on them: they only make a worker look sooner."""

    async def run(self, on_mode: Callable[[str], None]) -> None:
        """Listen until cancelled. `on_mode` receives ``""`` while notifications arrive, else why they do not."""
        ...
