"""The events of jobs. They name kinds, steps and runs; never arguments or results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from prodkit.core.events import Event, Level, Metric, Metrics

__all__ = [
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
]


def _seconds(name: str, label: str, value: str, text: str) -> Metric:
    return Metric(name, "histogram", (label,), value=value, unit="seconds", help=text)


def _count(name: str, labels: tuple[str, ...], text: str) -> Metric:
    return Metric(name, labels=labels, help=text)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStarted(Event):
    """A worker took a run for the first time, `waited` seconds after it was due.

    Args:
        kind: the name of the job.
        run: the id of the run.
    """

    name = "jobs.started"
    level: ClassVar[Level] = "DEBUG"
    metric: ClassVar[Metrics] = _seconds("job_queue_seconds", "kind", "waited", "Time from due to start.")
    kind: str
    run: str
    waited: float


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResumed(Event):
    """A worker took a run that another one had taken before; `recorded` steps are not called again.

    Args:
        kind: the name of the job.
        run: the id of the run.
        takes: how often the run was taken.
    """

    name = "jobs.resumed"
    level: ClassVar[Level] = "INFO"
    metric: ClassVar[Metrics] = _count(
        "jobs_resumed", ("kind",), "Runs taken again after a kill, a retry or a wait."
    )
    kind: str
    run: str
    takes: int
    recorded: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFinished(Event):
    """A run has its result.

    Args:
        kind: the name of the job.
        run: the id of the run.
        duration: seconds.
    """

    name = "jobs.finished"
    level: ClassVar[Level] = "DEBUG"
    metric: ClassVar[Metrics] = _seconds(
        "job_seconds", "kind", "duration", "Time of a run in its last worker."
    )
    kind: str
    run: str
    duration: float


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFailed(Event):
    """An attempt of a run failed; the next one starts in `retry_in` seconds.

    Args:
        kind: the name of the job.
        run: the id of the run.
        attempt: the number of the attempt, from 1.
        error: the class of the error.
    """

    name = "jobs.failed"
    level: ClassVar[Level] = "WARNING"
    metric: ClassVar[Metrics] = _count("job_failures", ("kind", "error"), "Failed attempts of runs.")
    kind: str
    run: str
    attempt: int
    error: str
    retry_in: float


@dataclass(frozen=True, slots=True, kw_only=True)
class JobDead(Event):
    """A run is a dead letter: no further attempt starts by itself.

    Args:
        kind: the name of the job.
        run: the id of the run.
        attempt: the number of the attempt, from 1.
        error: the class of the error.
    """

    name = "jobs.dead"
    level: ClassVar[Level] = "ERROR"
    metric: ClassVar[Metrics] = _count("jobs_dead", ("kind", "error"), "Runs that became dead letters.")
    kind: str
    run: str
    attempt: int
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JobCancelled(Event):
    """A run was cancelled while this worker executed it.

    Args:
        kind: the name of the job.
        run: the id of the run.
    """

    name = "jobs.cancelled"
    level: ClassVar[Level] = "INFO"
    metric: ClassVar[Metrics] = _count(
        "jobs_cancelled", ("kind",), "Runs cancelled while they were executed."
    )
    kind: str
    run: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JobLost(Event):
    """Another worker has taken the run that this one executed; this one stops and writes nothing.

    Args:
        kind: the name of the job.
        run: the id of the run.
    """

    name = "jobs.lost"
    level: ClassVar[Level] = "WARNING"
    metric: ClassVar[Metrics] = _count("jobs_lost", ("kind",), "Runs that another worker took over.")
    kind: str
    run: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JobHandedOver(Event):
    """A worker that shuts down gave the run back; `interrupted` steps were in flight and run again.

    Args:
        kind: the name of the job.
        run: the id of the run.
    """

    name = "jobs.handed_over"
    level: ClassVar[Level] = "INFO"
    metric: ClassVar[Metrics] = _count("jobs_handed_over", ("kind",), "Runs given back at shutdown.")
    kind: str
    run: str
    interrupted: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRequeued(Event):
    """An unfinished run had no row in the queue and got a new one.

    Args:
        kind: the name of the job.
        run: the id of the run.
    """

    name = "jobs.requeued"
    level: ClassVar[Level] = "WARNING"
    metric: ClassVar[Metrics] = _count(
        "jobs_requeued", ("kind",), "Unfinished runs that had lost their queue row."
    )
    kind: str
    run: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFinished(Event):
    """A step's result is recorded.

    Args:
        kind: the name of the job.
        run: the id of the run.
        step: the name of the step.
        duration: seconds.
    """

    name = "jobs.step_finished"
    level: ClassVar[Level] = "DEBUG"
    metric: ClassVar[Metrics] = _seconds("job_step_seconds", "kind", "duration", "Time of a step.")
    kind: str
    run: str
    step: str
    duration: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFailed(Event):
    """A step raised; the body of the job decides what follows.

    Args:
        kind: the name of the job.
        run: the id of the run.
        step: the name of the step.
        error: the class of the error.
    """

    name = "jobs.step_failed"
    level: ClassVar[Level] = "INFO"
    metric: ClassVar[Metrics] = _count("job_step_failures", ("kind", "error"), "Steps that raised.")
    kind: str
    run: str
    step: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepUnused(Event):
    """A run finished without asking for a step that an earlier worker had recorded: the job's code changed.

    Args:
        kind: the name of the job.
        run: the id of the run.
        step: the name of the step.
    """

    name = "jobs.step_unused"
    level: ClassVar[Level] = "WARNING"
    metric: ClassVar[Metrics] = _count(
        "job_steps_unused", ("kind",), "Recorded steps that no code asked for."
    )
    kind: str
    run: str
    step: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueLost(Event):
    """The worker cannot reach its queue and tries again until it can.

    Args:
        worker: the name of the worker.
        error: the class of the error.
    """

    name = "jobs.queue_lost"
    level: ClassVar[Level] = "WARNING"
    metric: ClassVar[Metrics] = _count("job_queue_losses", ("worker", "error"), "Losses of the queue.")
    worker: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueRecovered(Event):
    """The queue answers again, after `down_for` seconds.

    Args:
        worker: the name of the worker.
    """

    name = "jobs.queue_recovered"
    level: ClassVar[Level] = "INFO"
    metric: ClassVar[Metrics] = _seconds(
        "job_queue_down_seconds", "worker", "down_for", "Length of an outage of the queue."
    )
    worker: str
    down_for: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenStopped(Event):
    """No notification arrives, as behind a transaction pooler: the worker polls every `poll` seconds.

    Args:
        worker: the name of the worker.
        reason: why no notification arrives.
    """

    name = "jobs.listen_stopped"
    level: ClassVar[Level] = "WARNING"
    metric: ClassVar[Metrics] = _count(
        "job_listen_stops", ("worker", "reason"), "Changes from LISTEN to polling."
    )
    worker: str
    reason: str
    poll: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleFired(Event):
    """This worker enqueued the run of one tick.

    Args:
        kind: the name of the job.
        run: the id of the run.
        late: seconds after the tick.
    """

    name = "jobs.schedule_fired"
    level: ClassVar[Level] = "DEBUG"
    metric: ClassVar[Metrics] = _count("job_schedule_ticks", ("kind",), "Ticks of schedules.")
    kind: str
    run: str
    late: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RunsPurged(Event):
    """Finished runs older than the retention were removed.

    Args:
        runs: how many.
    """

    name = "jobs.purged"
    level: ClassVar[Level] = "INFO"
    metric: ClassVar[Metrics] = Metric(
        "jobs_purged", value="runs", help="Finished runs removed by retention."
    )
    runs: int
