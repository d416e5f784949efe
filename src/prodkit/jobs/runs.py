"""Runs for people and programs outside a worker: look, wait, cancel, retry, signal, purge."""

from __future__ import annotations

import asyncio
import inspect
from dataclasses import replace
from typing import TYPE_CHECKING, Any, get_args
from uuid import UUID

from prodkit.core.check import CheckResult
from prodkit.core.redaction import redact
from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.core.validate import Arguments
from prodkit.errors import CallTimeoutError
from prodkit.jobs.codec import decode, encode, returned
from prodkit.jobs.context import check_name
from prodkit.jobs.definition import Job, engine_of
from prodkit.jobs.errors import JobCancelledError, JobFailedError
from prodkit.jobs.values import LONGEST_WAIT, Run, RunStatus, Snapshot, Stats, check_run, check_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prodkit.jobs.engine import Engine
    from prodkit.postgres import Pool

__all__ = ["Runs"]


class Runs:
    """The runs of a database.

    Args:
        db: a running pool, or an engine.
        name: this check in health reports.
        max_age: seconds that a due run may wait before the health check calls the queue degraded.
        runtime: the clock of waits.
    """

    def __init__(
        self, db: Pool | Engine, *, name: str = "jobs", max_age: float = 60.0, runtime: Runtime = SYSTEM
    ) -> None:
        check = Arguments("Runs")
        check.text("name", name)
        check.seconds("max_age", max_age)
        check.done()
        self._engine, _ = engine_of(db)
        self._name = name
        self._max_age = max_age
        self._clock = runtime.clock

    @property
    def name(self) -> str:
        """This check in health reports."""
        return self._name

    async def get(self, run_id: UUID | str) -> Run | None:
        """Return one run with the names of its recorded steps, or None.

        Args:
            run_id: the id that ``enqueue`` returned.
        """
        return await self._engine.get(check_run(run_id))

    async def list(
        self, *, status: RunStatus | None = None, kind: str | None = None, limit: int = 50
    ) -> list[Run]:
        """Return runs, the newest first, without their steps.

        Args:
            status: only runs that stand there.
            kind: only runs of this job.
            limit: at most so many.
        """
        check = Arguments("list")
        if status is not None:
            check.one_of("status", status, get_args(RunStatus))
        if kind is not None:
            check_text(check, "kind", kind)
        check.integer("limit", limit, minimum=0, maximum=2**31 - 1)
        check.done()
        return await self._engine.list(status=status, kind=kind, limit=limit)

    async def result(
        self, run_id: UUID | str, *, job: Job[..., Any] | None = None, timeout: float | None = None
    ) -> Any:
        """Wait for the run's end and return its result.

        Args:
            run_id: the run.
            job: reads the result as the job's return annotation; plain JSON when None.
            timeout: seconds to wait; None waits as long as it takes.

        Raises:
            CallTimeoutError: the run had not ended in time; it goes on.
            JobFailedError: the run is a dead letter.
            JobCancelledError: the run was cancelled.
            LookupError: there is no such run.
        """
        run_id = check_run(run_id)
        check = Arguments("result")
        check.seconds("timeout", timeout, optional=True, zero=True)
        check.done()
        until = None if timeout is None else self._clock.monotonic() + timeout
        pause = 0.02
        while True:
            run = await self._engine.get(run_id)
            if run is None:
                raise LookupError(f"there is no run {run_id}")
            if run.status == "done":
                return decode(run.result, inspect.Parameter.empty if job is None else returned(job.fn))
            if run.finished:
                kind = JobCancelledError if run.status == "cancelled" else JobFailedError
                raise kind(
                    f"{run.kind} {run_id} {'was cancelled' if run.status == 'cancelled' else f'failed: {run.error}'}",
                    run_id=str(run_id),
                    error=run.error.partition(":")[0],
                )
            left = None if until is None else until - self._clock.monotonic()
            if left is not None and left <= 0:
                raise CallTimeoutError(
                    f"{run.kind} {run_id} had not ended after {timeout} s", timeout=timeout
                )
            await self._clock.sleep(pause if left is None else min(pause, left))
            pause = min(pause * 1.5, 0.5)

    async def cancel(self, run_id: UUID | str, *, connection: Any = None) -> bool:
        """End a run that has not finished, and interrupt the step in flight.

        Args:
            run_id: the run.
            connection: a connection inside a transaction, at whose commit the cancellation takes effect.

        Returns:
            False when the run had already ended or does not exist.
        """
        return await self._engine.cancel(check_run(run_id), connection)

    async def retry(self, run_id: UUID | str, *, forget: Sequence[str] = (), accept: bool = False) -> bool:
        """Queue a dead or cancelled run again. Recorded steps are not called again.

        Args:
            run_id: the run.
            forget: steps to call again.
            accept: use recorded results although the code of their steps has changed.

        Returns:
            False when the run is neither dead nor cancelled.
        """
        check = Arguments("retry")
        check.that(not isinstance(forget, str), f"forget must be a sequence of names, got {forget!r}")
        for name in () if isinstance(forget, str) else forget:
            check_text(check, "name", name)
        check.done()
        return await self._engine.retry(check_run(run_id), forget=forget, accept=accept)

    async def resolve(self, run_id: UUID | str, step: str, result: Any) -> bool:
        """Record a step by hand, such as a payment that did take effect; then :meth:`retry` the run.

        Args:
            run_id: the run.
            step: the step's name.
            result: what the step returns from now on.
        """
        check_name(step)
        return await self._engine.resolve(check_run(run_id), step, encode(result))

    async def signal(self, run_id: UUID | str, name: str, data: Any = None) -> bool:
        """Send a signal for which the run waits, or will wait, in ``jobs.signal(name)``. The first one counts.

        Args:
            run_id: the run.
            name: the signal.
            data: JSON that ``jobs.signal`` returns.

        Returns:
            False when the run has ended or does not exist.
        """
        check_name(name)
        return await self._engine.send_signal(check_run(run_id), name, encode(data))

    async def purge(self, *, older: float, dead: bool = False) -> int:
        """Remove runs that ended more than `older` seconds ago, in batches of 1,000; return how many.

        Args:
            older: age in seconds since the end.
            dead: remove dead letters too.
        """
        check = Arguments("purge")
        check.number("older", older, minimum=0, maximum=LONGEST_WAIT, unit="seconds")
        check.done()
        total = 0
        while gone := await self._engine.purge(older=older, limit=1000, dead=dead):
            total += gone
        return total

    async def stats(self) -> Stats:
        """Return the queue in numbers."""
        return await self._engine.stats()

    async def snapshot(self, *, limit: int = 20) -> Snapshot:
        """Return what a page for operators shows, without arguments and results.

        Args:
            limit: at most so many running, waiting and dead runs each, the newest first.
        """
        check = Arguments("snapshot")
        check.integer("limit", limit, minimum=1, maximum=1000)
        check.done()
        statuses: tuple[RunStatus, ...] = ("running", "waiting", "dead")
        running, waiting, dead = [
            tuple(_public(run) for run in await self._engine.list(status=status, limit=limit))
            for status in statuses
        ]
        return Snapshot(
            stats=await self._engine.stats(),
            kinds=await self._engine.kinds(),
            running=running,
            waiting=waiting,
            dead=dead,
            limit=limit,
        )

    async def check(self) -> CheckResult:
        """Report the queue for processes that run no worker themselves."""
        stats = await self._engine.stats()
        details: dict[str, object] = {field: getattr(stats, field) for field in stats.__slots__}
        if stats.oldest_due > self._max_age:
            return CheckResult(
                "degraded",
                f"{stats.due} runs are due; the oldest has waited {stats.oldest_due:.0f} s",
                details,
            )
        return CheckResult("up", f"{stats.dead} dead letters" if stats.dead else "", details)

    async def wait_idle(self, *, timeout: float = 60.0) -> None:
        """Wait until nothing is queued or running: for tests and scripts.

        Args:
            timeout: seconds to wait.

        Raises:
            CallTimeoutError: work was left.
        """
        async with asyncio.timeout(timeout) as limit:
            try:
                while True:
                    stats = await self._engine.stats()
                    if not stats.queued and not stats.running:
                        return
                    await self._clock.sleep(0.05)
            except asyncio.CancelledError:
                if limit.expired():
                    raise CallTimeoutError(f"work was left after {timeout} s", timeout=timeout) from None
                raise


def _public(run: Run) -> Run:
    """Return `run` without what its caller passed and got, its error redacted."""
    return replace(run, arguments="", result="", error=str(redact(run.error)))
