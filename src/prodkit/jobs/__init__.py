"""Durable jobs on PostgreSQL: a finished step is a row, and a killed worker's run resumes behind it.

::

    council.enqueue(tx, …)                 definition.py   one INSERT in the caller's transaction
      └ Worker                             worker.py       claims runs, keeps their heartbeat, hands them over
          └ Engine.claim                   postgres.py     PgQueuer's dequeue, then fence + 1
              └ Execution                  execution.py    one run in one worker
                  └ step("name", fn, …)    steps.py        recorded? return it. Else call fn
                      └ Engine.record      postgres.py     a row, written only under the run's fence
          └ Engine.finish | release        postgres.py     result, retry, suspension, dead letter

A run's *fence* rises by one with every worker that takes the run and with a cancellation. Each write names the fence
under which its worker took the run, so a worker that was frozen, partitioned or declared dead can wake up and write
nothing::

    worker A   take: fence 1 ── step 1 ──(frozen)······················ step 2: refused, fence is 2
    worker B                              take: fence 2 ── step 2 ── done
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prodkit.core.lazy import attach

if TYPE_CHECKING:
    from prodkit.jobs.context import (
        current as current,
        gather as gather,
        idempotency_key as idempotency_key,
        publish as publish,
        transaction as transaction,
    )
    from prodkit.jobs.definition import Job as Job, job as job
    from prodkit.jobs.engine import Engine as Engine
    from prodkit.jobs.errors import (
        JobCancelledError as JobCancelledError,
        JobFailedError as JobFailedError,
        RunLostError as RunLostError,
        StepChangedError as StepChangedError,
        StepUnknownError as StepUnknownError,
    )
    from prodkit.jobs.events import (
        JobCancelled as JobCancelled,
        JobDead as JobDead,
        JobFailed as JobFailed,
        JobFinished as JobFinished,
        JobHandedOver as JobHandedOver,
        JobLost as JobLost,
        JobRequeued as JobRequeued,
        JobResumed as JobResumed,
        JobStarted as JobStarted,
        ListenStopped as ListenStopped,
        QueueLost as QueueLost,
        QueueRecovered as QueueRecovered,
        RunsPurged as RunsPurged,
        ScheduleFired as ScheduleFired,
        StepFailed as StepFailed,
        StepFinished as StepFinished,
        StepUnused as StepUnused,
    )
    from prodkit.jobs.memory import MemoryEngine as MemoryEngine
    from prodkit.jobs.postgres import PostgresEngine as PostgresEngine
    from prodkit.jobs.runs import Runs as Runs
    from prodkit.jobs.schedules import Cron as Cron, Every as Every
    from prodkit.jobs.schema import (
        POSTGRES_SCHEMA as POSTGRES_SCHEMA,
        install as install,
        pgqueuer_schema as pgqueuer_schema,
    )
    from prodkit.jobs.steps import step as step
    from prodkit.jobs.streaming import stream as stream
    from prodkit.jobs.timers import signal as signal, sleep as sleep
    from prodkit.jobs.values import (
        Enqueued as Enqueued,
        KindStats as KindStats,
        Run as Run,
        RunStatus as RunStatus,
        Snapshot as Snapshot,
        Stats as Stats,
    )
    from prodkit.jobs.worker import Worker as Worker
else:
    __getattr__, __dir__, __all__ = attach(
        __name__,
        {
            "definition": ("Job", "job"),
            "context": ("current", "gather", "idempotency_key", "publish", "transaction"),
            "engine": ("Engine",),
            "errors": (
                "JobCancelledError",
                "JobFailedError",
                "RunLostError",
                "StepChangedError",
                "StepUnknownError",
            ),
            "events": (
                "JobCancelled",
                "JobDead",
                "JobFailed",
                "JobFinished",
                "JobHandedOver",
                "JobLost",
                "JobRequeued",
                "JobResumed",
                "JobStarted",
                "ListenStopped",
                "QueueLost",
                "QueueRecovered",
                "RunsPurged",
                "ScheduleFired",
                "StepFailed",
                "StepFinished",
                "StepUnused",
            ),
            "memory": ("MemoryEngine",),
            "postgres": ("PostgresEngine",),
            "runs": ("Runs",),
            "schema": ("POSTGRES_SCHEMA", "install", "pgqueuer_schema"),
            "schedules": ("Cron", "Every"),
            "steps": ("step",),
            "streaming": ("stream",),
            "timers": ("signal", "sleep"),
            "values": ("Enqueued", "KindStats", "Run", "RunStatus", "Snapshot", "Stats"),
            "worker": ("Worker",),
        },
    )
