"""The worker: claims runs, keeps their heartbeat, retries, hands over at shutdown."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID, uuid4

from prodkit.core.check import CheckResult
from prodkit.core.lifespan import Managed
from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.core.validate import Arguments
from prodkit.jobs.definition import Job, engine_of
from prodkit.jobs.events import (
    JobRequeued,
    ListenStopped,
    QueueLost,
    QueueRecovered,
    RunsPurged,
    ScheduleFired,
)
from prodkit.jobs.execution import Execution
from prodkit.jobs.outcome import conclude
from prodkit.jobs.values import Claim

if TYPE_CHECKING:
    from prodkit.jobs.engine import Engine
    from prodkit.postgres import Pool
    from prodkit.progress import Channel

__all__ = ["Worker"]

_SWEEP: Final = 5.0
_PURGE: Final = 600.0
_PAUSE: Final = 0.5
_UNWIND: Final = 2.0
_LONGEST_NAP: Final = 60.0


class Worker(Managed):
    """Executes runs of `jobs`, for ``async with`` or :func:`prodkit.running`.

    ::

        async with postgres.Pool(url) as db, jobs.Worker(db, [council, nightly_backup]):
            await shutdown.wait()

    Starting returns at once; a database that is away is waited for. Closing takes no further run, lets the steps in
    flight end for at most `grace` seconds, and gives the runs back, so that another worker resumes them at once.

    Args:
        db: a running pool, or an engine. The worker opens no connection of its own; one of the pool's listens.
        jobs: the jobs to execute. Runs of other kinds are left to other workers.
        concurrency: runs at once in this worker.
        lease: seconds without a heartbeat after which another worker takes a run over. Heartbeats are sent three
            times as often. Raise it where the event loop may stall for longer.
        poll: seconds between two looks into the queue; notifications make it look sooner.
        grace: seconds that closing waits for steps in flight. Keep it below the platform's kill timeout.
        keep: seconds that finished runs are kept; None keeps them. Dead letters are kept until they are purged by hand.
        max_age: seconds that a due run may wait before the health check calls the queue degraded.
        channel: a ``progress.Channel`` for what the jobs publish.
        name: the worker in health reports and events.
        runtime: clock, random generator and events.
    """

    def __init__(
        self,
        db: Pool | Engine,
        jobs: Iterable[Job[..., Any]] = (),
        *,
        concurrency: int = 10,
        lease: float = 2.0,
        poll: float = 0.4,
        grace: float = 5.0,
        keep: float | None = 30 * 86400.0,
        max_age: float = 60.0,
        channel: Channel | None = None,
        name: str = "jobs",
        runtime: Runtime = SYSTEM,
    ) -> None:
        chosen = tuple(jobs)
        check = Arguments("Worker")
        for each in chosen:
            check.instance("jobs", each, Job, "functions decorated with @jobs.job")
        names = [getattr(each, "name", "") for each in chosen]
        check.that(len(set(names)) == len(names), f"two jobs have one name: {sorted(names)}")
        check.that(bool(chosen), "jobs must not be empty: name the jobs that this worker executes")
        check.integer("concurrency", concurrency, minimum=1)
        for label, value in (("lease", lease), ("poll", poll), ("max_age", max_age)):
            check.seconds(label, value)
        check.seconds("grace", grace, zero=True)
        check.seconds("keep", keep, optional=True)
        check.text("name", name)
        check.done()
        self._engine, _ = engine_of(db)
        self._jobs = {each.name: each for each in chosen}
        self._limits = {each.name: each.concurrency for each in chosen}
        self._concurrency = concurrency
        self._lease = lease
        self._poll = poll
        self._grace = grace
        self._keep = keep
        self._max_age = max_age
        self._channel = channel
        self._name = name
        self._runtime = runtime
        self._id: UUID = uuid4()
        self._running: dict[UUID, Execution] = {}
        self._claims: dict[UUID, Claim] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._used = 0
        self._loops: list[asyncio.Task[None]] = []
        self._wake = asyncio.Event()
        self._free = asyncio.Event()
        self._leaving = False
        self._lost_since: float | None = None
        self._not_listening = "not started"

    @property
    def name(self) -> str:
        """The worker in health reports."""
        return self._name

    @property
    def in_flight(self) -> int:
        """Runs that this worker executes now."""
        return len(self._claims)

    async def start(self) -> None:
        """Begin to take runs.

        Raises:
            DatabaseError: the tables are missing.
            MissingExtraError: PgQueuer is not installed.
        """
        if self._loops:
            raise RuntimeError(f"the worker {self._name!r} has already been started")
        self._leaving = False
        with suppress(OSError, TimeoutError):
            await self._engine.prepare()
        listener = self._engine.listen(self._wake.set, self._cancelled)
        loops = [
            ("claim", self._claim_loop()),
            ("heartbeat", self._beat_loop()),
            ("sweep", self._sweep_loop()),
            ("listen", listener.run(self._listening)),
        ]
        loops += [
            (f"schedule {each.name}", self._schedule_loop(each))
            for each in self._jobs.values()
            if each.schedule
        ]
        self._loops = [asyncio.create_task(loop, name=f"{self._name} {label}") for label, loop in loops]

    async def aclose(self) -> None:
        """Take no further run, wait up to `grace` seconds for the steps in flight, and give the runs back."""
        if not self._loops:
            return
        self._leaving = True
        self._wake.set()
        self._free.set()
        beat = next(each for each in self._loops if each.get_name().endswith(" heartbeat"))
        for each in self._loops:
            if each is not beat:  # leases are renewed until the last run is given back
                each.cancel()
        await asyncio.gather(*(each for each in self._loops if each is not beat), return_exceptions=True)
        for execution in tuple(self._running.values()):
            execution.close()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._grace)
        for execution in tuple(self._running.values()):
            execution.interrupt("handover")
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_UNWIND)
        for task in tuple(self._tasks):
            task.cancel()
        beat.cancel()
        await asyncio.gather(beat, return_exceptions=True)
        self._loops = []

    async def check(self) -> CheckResult:
        """Report the queue: its age, dead letters, workers; degraded when due runs wait longer than `max_age`."""
        if not self._loops:
            return CheckResult("down", "the worker is not running")
        stats = await self._engine.stats()
        details: dict[str, object] = {
            field: round(value, 1) if isinstance(value, float) else value
            for field in stats.__slots__
            for value in (getattr(stats, field),)
        }
        details |= {
            "in_flight": self.in_flight,
            "notifications": "listen" if not self._not_listening else f"poll: {self._not_listening}",
            "engine": self._engine.name,
        }
        if self._lost_since is not None:
            return CheckResult("degraded", "the queue cannot be reached", details)
        if stats.oldest_due > self._max_age:
            return CheckResult(
                "degraded",
                f"{stats.due} runs are due; the oldest has waited {stats.oldest_due:.0f} s",
                details,
            )
        return CheckResult("up", f"{stats.dead} dead letters" if stats.dead else "", details)

    async def _claim_loop(self) -> None:
        while not self._leaving:
            # Runs whose end is being written hold no slot, up to as many again: so many are the price of a slow disk.
            free = min(self._concurrency - self._used, 2 * self._concurrency - len(self._tasks))
            if free <= 0:
                self._free.clear()
                await self._free.wait()
                continue
            self._wake.clear()
            try:
                claims = await self._engine.claim(self._id, self._limits, free, self._lease)
            except Exception as error:  # noqa: BLE001 - whatever it was, the next look may be better
                self._queue_failed(error)
                await self._runtime.clock.sleep(_PAUSE)
                continue
            self._queue_answers()
            for claim in claims:
                self._spawn(claim)
            if len(claims) < free:
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._poll):
                        await self._wake.wait()

    def _spawn(self, claim: Claim) -> None:
        execution = Execution(
            claim, self._engine, runtime=self._runtime, channel=self._channel, vacate=self._vacated
        )
        self._used += 1
        if self._leaving:
            execution.close()
        old = self._running.get(claim.run_id)
        if old is not None:  # our own lease ran out and we took the run again
            old.interrupt("lost")
        self._running[claim.run_id] = execution
        self._claims[claim.run_id] = claim
        task = asyncio.get_running_loop().create_task(
            conclude(self._jobs[claim.kind], execution, self._engine), name=f"{claim.kind} {claim.run_id}"
        )
        execution.attach(task)
        self._tasks.add(task)

        def done(_: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            if self._running.get(claim.run_id) is execution:
                del self._running[claim.run_id]
                del self._claims[claim.run_id]
            execution.vacate()
            self._free.set()
            if not task.cancelled():
                task.exception()

        task.add_done_callback(done)

    def _vacated(self) -> None:
        self._used -= 1
        self._free.set()

    def _cancelled(self, run_id: UUID) -> None:
        execution = self._running.get(run_id)
        if execution is not None:
            execution.interrupt("cancelled")

    async def _beat_loop(self) -> None:
        while True:
            await self._runtime.clock.sleep(self._lease / 3)
            claims = list(self._claims.values())
            if not claims:
                continue
            try:
                held = await self._engine.beat(self._id, claims)
            except Exception as error:  # noqa: BLE001 - the claim loop reports and recovers
                self._queue_failed(error)
                continue
            for claim in claims:
                execution = self._running.get(claim.run_id)
                if claim.run_id not in held and execution is not None and execution.claim is claim:
                    execution.interrupt("lost")

    async def _sweep_loop(self) -> None:
        purged = 0.0
        while True:
            await self._runtime.clock.sleep(_SWEEP * (0.75 + self._runtime.rng.random() / 2))
            with suppress(Exception):  # whatever it was, the next look may be better
                for run_id, kind in await self._engine.sweep():
                    if self._runtime.events.listened(JobRequeued):
                        self._runtime.events.emit(JobRequeued(kind=kind, run=str(run_id)))
                for kind, tenant in await self._engine.held_back():
                    if kind in self._jobs:
                        await self._engine.promote(kind, tenant, self._jobs[kind].tenant_limit or 1)
                now = self._runtime.clock.monotonic()
                if self._keep is not None and now - purged >= _PURGE:
                    purged = now
                    gone = await self._engine.purge(older=self._keep)
                    if gone and self._runtime.events.listened(RunsPurged):
                        self._runtime.events.emit(RunsPurged(runs=gone))

    async def _schedule_loop(self, job: Job[..., Any]) -> None:
        assert job.schedule is not None
        while True:
            pause = _PAUSE
            with suppress(Exception):  # the claim loop reports a queue that is away
                tick = await self._engine.tick(job.name, job.schedule.around, job.new_run())
                pause = min(max(tick.wait, 0.0) + 0.005, _LONGEST_NAP)
                if tick.run is not None and self._runtime.events.listened(ScheduleFired):
                    self._runtime.events.emit(ScheduleFired(kind=job.name, run=str(tick.run), late=tick.late))
            await self._runtime.clock.sleep(pause)

    def _listening(self, reason: str) -> None:
        changed, self._not_listening = reason != self._not_listening, reason
        if reason and changed and self._runtime.events.listened(ListenStopped):
            self._runtime.events.emit(ListenStopped(worker=self._name, reason=reason, poll=self._poll))

    def _queue_failed(self, error: BaseException) -> None:
        if self._lost_since is None:
            self._lost_since = self._runtime.clock.monotonic()
            if self._runtime.events.listened(QueueLost):
                self._runtime.events.emit(QueueLost(worker=self._name, error=type(error).__name__))

    def _queue_answers(self) -> None:
        if self._lost_since is not None:
            since, self._lost_since = self._lost_since, None
            if self._runtime.events.listened(QueueRecovered):
                down = self._runtime.clock.monotonic() - since
                self._runtime.events.emit(QueueRecovered(worker=self._name, down_for=down))

    def __repr__(self) -> str:
        state = "leaving" if self._leaving else "running" if self._loops else "not started"
        return f"Worker({self._name!r}, jobs={sorted(self._jobs)}, in_flight={self.in_flight}, {state})"
