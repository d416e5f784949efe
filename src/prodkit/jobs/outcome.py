"""From a claim to its end: call the body, then finish, retry, suspend, hand over or let go."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

from prodkit.core.deadline import Deadline
from prodkit.errors import CallTimeoutError, DeadlineExceededError, InvalidError
from prodkit.jobs.codec import UnstorableError, decode_arguments, encode, storable
from prodkit.jobs.errors import RunLostError, StepUnknownError
from prodkit.jobs.events import (
    JobCancelled,
    JobDead,
    JobFailed,
    JobFinished,
    JobHandedOver,
    JobLost,
    JobResumed,
    JobStarted,
    StepUnused,
)
from prodkit.jobs.execution import CURRENT, Execution, detached
from prodkit.jobs.values import LONGEST_WAIT
from prodkit.policies.backoff import upward

if TYPE_CHECKING:
    from prodkit.jobs.definition import Job
    from prodkit.jobs.engine import Engine
    from prodkit.jobs.values import Claim

__all__ = ["conclude"]

_LONGEST_ERROR = 2000


async def conclude(job: Job[..., Any], run: Execution, engine: Engine) -> None:
    """Execute one claimed run and write what became of it.

    Args:
        job: the job of the run.
        run: the run's state in this worker; its ``interrupt`` cancels the task that executes this.
        engine: where the end is written.
    """
    claim = run.claim
    assert claim is not None
    _begun(run, claim)
    if claim.crashes > job.max_crashes:
        await _dead(
            job, run, claim, engine, "WorkerCrashed", f"{claim.crashes} workers vanished with this run"
        )
        return
    began = run.clock.monotonic()
    CURRENT.set(run)
    try:
        text = encode(await _body(job, claim))
    except RunLostError:
        await _interrupted(run, claim, engine)
    except BaseException as error:
        if run.reason and isinstance(error, asyncio.CancelledError):
            await _interrupted(run, claim, engine)
        elif run.ends_with(error):
            raise  # the lease will run out
        else:
            await _failed(job, run, claim, engine, error if isinstance(error, Exception) else _unusual(error))
    else:
        await _finished(job, run, claim, engine, text, run.clock.monotonic() - began)


async def _written(run: Execution, work: Awaitable[bool]) -> bool:
    """Free the worker's slot, so that the next run may begin, and write the end of this one."""
    run.vacate()
    return await detached(work)


async def _body(job: Job[..., Any], claim: Claim) -> Any:
    args, kwargs = decode_arguments(job.fn, claim.arguments)
    if job.timeout is None and claim.left is None:
        return await job.fn(*args, **kwargs)
    if claim.left is not None and claim.left <= 0:
        raise DeadlineExceededError("the run's deadline has passed")
    seconds = min(each for each in (job.timeout, claim.left) if each is not None)
    limit = asyncio.timeout(seconds)
    try:
        with Deadline.after(seconds):
            async with limit:
                return await job.fn(*args, **kwargs)
    except TimeoutError:
        if not limit.expired():
            raise
        if claim.left is not None and claim.left <= seconds:
            raise DeadlineExceededError("the run's deadline has passed") from None
        raise CallTimeoutError(f"the attempt took longer than {job.timeout} s", timeout=job.timeout) from None


def _begun(run: Execution, claim: Claim) -> None:
    if claim.takes == 1:
        if run.events.listened(JobStarted):
            run.events.emit(JobStarted(kind=claim.kind, run=str(claim.run_id), waited=claim.waited))
    elif run.events.listened(JobResumed):
        run.events.emit(
            JobResumed(kind=claim.kind, run=str(claim.run_id), takes=claim.takes, recorded=len(claim.steps))
        )


async def _finished(
    job: Job[..., Any], run: Execution, claim: Claim, engine: Engine, result: str, duration: float
) -> None:
    if not await _written(run, engine.finish(claim, "done", result=result)):
        _lost(run, claim)
        return
    if job.tenant_limit and claim.tenant is not None:
        await detached(engine.promote(claim.kind, claim.tenant, job.tenant_limit))
    if run.events.listened(StepUnused):
        for name in claim.steps:
            if name not in run.used:
                run.events.emit(StepUnused(kind=claim.kind, run=str(claim.run_id), step=name))
    if run.events.listened(JobFinished):
        run.events.emit(JobFinished(kind=claim.kind, run=str(claim.run_id), duration=duration))


async def _failed(job: Job[..., Any], run: Execution, claim: Claim, engine: Engine, error: Exception) -> None:
    attempt = claim.attempts + 1
    name = type(error).__name__
    wanted = job.retry_on if isinstance(job.retry_on, tuple) else (job.retry_on,)
    whole = any(issubclass(kind, BaseExceptionGroup) and isinstance(error, kind) for kind in wanted)
    hopeless = any(
        isinstance(each, InvalidError | StepUnknownError | DeadlineExceededError | UnstorableError)
        or not (whole or isinstance(each, job.retry_on))
        for each in _leaves(error)
    )
    if isinstance(error, DeadlineExceededError) and (claim.left is None or claim.left > 0):
        hopeless = claim.left is not None  # the run's own deadline, and not one that the body has set
    if hopeless or attempt >= job.attempts:
        await _dead(job, run, claim, engine, name, str(error))
        if job.tenant_limit and claim.tenant is not None:
            await detached(engine.promote(claim.kind, claim.tenant, job.tenant_limit))
        return
    delay = _delay(job, attempt, run)
    held = await _written(run, engine.release(claim, delay=delay, error=_text(name, str(error)), failed=True))
    if not held:
        _lost(run, claim)
    elif run.events.listened(JobFailed):
        run.events.emit(
            JobFailed(kind=claim.kind, run=str(claim.run_id), attempt=attempt, error=name, retry_in=delay)
        )


async def _dead(
    job: Job[..., Any], run: Execution, claim: Claim, engine: Engine, name: str, message: str
) -> None:
    if job.on_dead is not None and (run.reason or not await _last_call(job, run, claim)):
        await _interrupted(run, claim, engine)  # the next worker comes here again
        return
    if not await _written(run, engine.finish(claim, "dead", error=_text(name, message))):
        _lost(run, claim)
    elif run.events.listened(JobDead):
        run.events.emit(
            JobDead(kind=claim.kind, run=str(claim.run_id), attempt=claim.attempts + 1, error=name)
        )


async def _last_call(job: Job[..., Any], run: Execution, claim: Claim) -> bool:
    """Call `on_dead`, whose errors are ignored; False when the run has to leave this worker before its end."""
    assert job.on_dead is not None
    run.tidy()
    CURRENT.set(run)
    try:
        args, kwargs = decode_arguments(job.fn, claim.arguments)
        await job.on_dead(*args, **kwargs)
    except BaseException as error:
        if run.reason and isinstance(error, asyncio.CancelledError | RunLostError):
            return False
        if run.ends_with(error):
            raise
    return True


async def _interrupted(run: Execution, claim: Claim, engine: Engine) -> None:
    if run.reason == "suspend":
        delay, signal = run.wakes
        if not await _written(run, engine.release(claim, delay=delay, signal=signal)):
            _lost(run, claim)
    elif run.reason == "handover":
        held = await _written(run, engine.release(claim, delay=0.0))
        if not held:
            _lost(run, claim)
        elif run.events.listened(JobHandedOver):
            run.events.emit(
                JobHandedOver(kind=claim.kind, run=str(claim.run_id), interrupted=run.interrupted)
            )
    else:
        _lost(run, claim)


def _unusual(error: BaseException) -> RuntimeError:
    """Return what would end this worker, or look like a cancellation of it, as a failure of the one run."""
    found = RuntimeError(f"the job raised {type(error).__name__}: {error}".rstrip(": "))
    found.__cause__ = error
    return found


def _leaves(error: BaseException) -> list[BaseException]:
    """Return the errors of a group, however deep, or the error itself."""
    if not isinstance(error, BaseExceptionGroup):
        return [error]
    return [leaf for each in error.exceptions for leaf in _leaves(each)]


def _delay(job: Job[..., Any], attempt: int, run: Execution) -> float:
    """Return the wait that the job's own function chose, or the default one where it does not work."""
    try:
        return min(max(0.0, float(job.backoff(attempt, run.runtime.rng, 0.0))), LONGEST_WAIT)
    except Exception:  # noqa: BLE001 - the run's own error counts, not that of its backoff
        return upward(1.0, cap=300.0)(attempt, run.runtime.rng, 0.0)


def _lost(run: Execution, claim: Claim) -> None:
    if run.reason == "cancelled":  # and the body went on to its end
        if run.events.listened(JobCancelled):
            run.events.emit(JobCancelled(kind=claim.kind, run=str(claim.run_id)))
    elif run.events.listened(JobLost):
        run.events.emit(JobLost(kind=claim.kind, run=str(claim.run_id)))


def _text(name: str, message: str) -> str:
    return storable(f"{name}: {message}"[:_LONGEST_ERROR])
