"""The seam between jobs and the place that keeps them: values, and the protocol of an engine.

:class:`~prodkit.jobs.PostgresEngine` stands on PgQueuer; :class:`~prodkit.jobs.MemoryEngine` serves unit tests on
virtual time. One suite (``prodkit.testing.contracts.JobsContract``) runs over both.
"""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable
from uuid import UUID

__all__ = [
    "FINISHED",
    "Claim",
    "Engine",
    "Enqueued",
    "NewRun",
    "Recorded",
    "Run",
    "RunStatus",
    "Write",
    "new_id",
]

RunStatus: TypeAlias = Literal["queued", "running", "waiting", "done", "dead", "cancelled"]
"""``waiting`` is suspended until a signal arrives; ``dead`` is a dead letter, which can be retried by hand."""
FINISHED = frozenset({"done", "dead", "cancelled"})

Write: TypeAlias = Callable[[Any], Awaitable[object]]
"""Domain rows of a step: called with the connection of the transaction that records the step."""


def new_id() -> UUID:
    """Return an id whose order is that of creation (version 7), so that new rows share index pages."""
    milliseconds = time.time_ns() // 1_000_000
    tail = int.from_bytes(os.urandom(10), "big")
    value = (milliseconds & (1 << 48) - 1) << 80 | 0x7 << 76 | (tail >> 68 & 0xFFF) << 64 | 0b10 << 62
    return UUID(int=value | tail & (1 << 62) - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRun:
    """A run to enqueue.

    Args:
        kind: the name of the job.
        arguments: JSON text of positional and keyword arguments.
        key: at most one run of this kind has this key while it is kept; None for no such limit.
        tenant: whose run this is, for the limit by tenant.
        tenant_limit: runs of one tenant that are queued or running at once; 0 for no limit.
        priority: higher runs first.
        delay: seconds until it may start.
        deadline: seconds from now after which it is given up, or None.
        id: chosen by the caller, so that a repeated statement makes no second run.
    """

    kind: str
    arguments: str
    key: str | None = None
    tenant: str | None = None
    tenant_limit: int = 0
    priority: int = 0
    delay: float = 0.0
    deadline: float | None = None
    id: UUID = field(default_factory=new_id)


@dataclass(frozen=True, slots=True)
class Enqueued:
    """The run of an ``enqueue``: a new one, or the one that has the key already.

    Args:
        id: the id of the run.
        created: False when a run with this key was there.
    """

    id: UUID
    created: bool = True


@dataclass(frozen=True, slots=True)
class Recorded:
    """A recorded step.

    Args:
        status: ``done``, or ``started`` for a ``once`` step whose outcome is not known.
        version: the version of the code that ran.
        arguments: digest of its arguments, empty where they are no data.
        result: JSON text.
    """

    status: str
    version: str
    arguments: str
    result: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A run in the hands of one worker.

    Args:
        run_id: the run.
        kind: the name of its job.
        fence: the number under which this worker may write.
        arguments: JSON text.
        attempts: failed attempts so far.
        takes: how often the run was taken, this time included.
        crashes: how often a worker vanished with the run.
        waited: seconds between due and taken.
        left: seconds until the run's deadline, or None.
        tenant: whose run it is.
        steps: recorded steps by name.
        queue_id: the engine's own number of the queue row.
    """

    run_id: UUID
    kind: str
    fence: int
    arguments: str
    attempts: int = 0
    takes: int = 1
    crashes: int = 0
    waited: float = 0.0
    left: float | None = None
    tenant: str | None = None
    steps: Mapping[str, Recorded] = field(default_factory=dict)
    queue_id: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run as it is kept, for people and programs that look at it.

    Args:
        id: the id of the run.
        kind: the name of its job.
        status: where it stands.
        key: its idempotency key.
        tenant: whose it is.
        priority: higher runs first.
        attempts: failed attempts.
        takes: how often a worker took it.
        fence: the current fence.
        arguments: JSON text.
        result: JSON text, empty while there is none.
        error: the last error as ``Class: message``, empty without one.
        steps: names of the recorded steps, in the order of recording.
        created_at: when it was enqueued.
        due_at: when it may (or might) start.
        started_at: when it was first taken.
        finished_at: when it ended.
    """

    id: UUID
    kind: str
    status: RunStatus
    key: str | None
    tenant: str | None
    priority: int
    attempts: int
    takes: int
    fence: int
    arguments: str
    result: str
    error: str
    steps: tuple[str, ...]
    created_at: datetime
    due_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @property
    def finished(self) -> bool:
        """True when nothing more happens to the run by itself."""
        return self.status in FINISHED


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """The outcome of looking at a schedule.

    Args:
        run: the run that this call enqueued, or None.
        late: seconds between the tick and now, where one was enqueued.
        wait: seconds until the next tick.
    """

    run: UUID | None
    late: float
    wait: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """The queue in numbers.

    Args:
        queued: runs that are due or will be.
        due: runs that could start now.
        running: runs in a worker.
        waiting: runs suspended until a signal.
        dead: dead letters.
        oldest_due: seconds that the oldest due run has waited.
        oldest_running: seconds since the oldest running run was first taken.
        workers: workers that hold runs.
    """

    queued: int = 0
    due: int = 0
    running: int = 0
    waiting: int = 0
    dead: int = 0
    oldest_due: float = 0.0
    oldest_running: float = 0.0
    workers: int = 0
