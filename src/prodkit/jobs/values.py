"""Runs, steps and claims as values: what goes into an engine and what comes out of it."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias
from uuid import UUID

from prodkit.core.validate import Arguments

__all__ = [
    "FINISHED",
    "LONGEST_WAIT",
    "Claim",
    "Enqueued",
    "KindStats",
    "NewRun",
    "Recorded",
    "Run",
    "RunStatus",
    "Snapshot",
    "Stats",
    "Tick",
    "Write",
    "check_run",
    "check_text",
    "new_id",
]

RunStatus: TypeAlias = Literal["queued", "running", "waiting", "done", "dead", "cancelled"]
"""``waiting`` is suspended until a signal arrives; ``dead`` is a dead letter, which can be retried by hand."""
FINISHED = frozenset({"done", "dead", "cancelled"})
LONGEST_WAIT: Final = 1e9
"""The longest delay or deadline: 31 years in seconds, which every engine can add to now."""
SEPARATOR: Final = "\x1f"
"""Between the names of signals of which any makes a run due."""
_LONGEST_TEXT: Final = {"key": 1500, "tenant": 1500}
"""In bytes: a kind and a key stand in one index entry, which PostgreSQL limits to 2,704."""

Write: TypeAlias = Callable[[Any], Awaitable[object]]
"""Domain rows of a step: called with the connection of the transaction that records the step."""


def check_text(check: Arguments, name: str, value: object) -> None:
    """Require a text that an engine can keep and find: not too long, without NUL and lone surrogates."""
    check.text(name, value)
    if isinstance(value, str):
        most = _LONGEST_TEXT.get(name)
        size = len(value.encode("utf-8", "surrogatepass")) if most else len(value)
        check.that(
            size <= (most or 200),
            f"{name} must have at most {most or 200} {'bytes' if most else 'characters'}, got {size}",
        )
        check.that(
            not any(each in ("\x00", SEPARATOR) or "\ud800" <= each <= "\udfff" for each in value),
            f"{name} must hold no NUL, no unit separator and no lone surrogate, got {value[:80]!r}",
        )


def check_run(run_id: object) -> UUID:
    """Return `run_id`, or the UUID that it spells."""
    if isinstance(run_id, UUID):
        return run_id
    if not isinstance(run_id, str):
        raise TypeError(f"run_id must be a UUID or its text, got {run_id!r}")
    try:
        return UUID(run_id)
    except ValueError:
        raise ValueError(f"run_id must be a UUID or its text, got {run_id!r}") from None


def new_id() -> UUID:
    """Return an id whose order is that of creation (version 7), so that new rows share index pages."""
    milliseconds = time.time_ns() // 1_000_000
    tail = int.from_bytes(os.urandom(10), "big")
    value = (milliseconds & (1 << 48) - 1) << 80 | 0x7 << 76 | (tail >> 68 & 0xFFF) << 64 | 0b10 << 62
    return UUID(int=value | tail & (1 << 62) - 1)


@dataclass(slots=True, kw_only=True)  # not frozen: it is made for one call, and three times as fast
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


@dataclass(frozen=True, slots=True, kw_only=True)
class KindStats:
    """The runs of one job in numbers.

    Args:
        kind: the name of the job.
        queued: runs that are due or will be.
        due: runs that could start now.
        running: runs in a worker.
        waiting: runs suspended until a signal.
        dead: dead letters.
        ended: runs that ended in the last minute, however they did.
        oldest_due: seconds that the oldest due run has waited.
    """

    kind: str
    queued: int = 0
    due: int = 0
    running: int = 0
    waiting: int = 0
    dead: int = 0
    ended: int = 0
    oldest_due: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The queue for a page of operators. Its runs hold no arguments and no results, and their errors are redacted.

    Args:
        stats: the queue in numbers.
        kinds: the same for each job that has unfinished runs, dead letters or runs that just ended, by name.
        running: runs in a worker, the newest first.
        waiting: runs suspended until a signal, the newest first.
        dead: dead letters, the newest first.
        limit: at most so many runs of each.
    """

    stats: Stats
    kinds: tuple[KindStats, ...] = ()
    running: tuple[Run, ...] = ()
    waiting: tuple[Run, ...] = ()
    dead: tuple[Run, ...] = ()
    limit: int = 20
