"""The end of a run in memory, on virtual time: result, retry, dead letter, timeout, deadline."""

import asyncio
from typing import Any

import pytest

from prodkit import InvalidError, Runtime, jobs
from prodkit.jobs.values import Run
from prodkit.policies.backoff import constant
from prodkit.testing import virtual_time


async def ended(job: jobs.Job[..., Any], *args: Any, events: list[str] | None = None) -> Run:
    """The run of `job` after its end; `events` gets the names of what was emitted."""
    runtime = Runtime()
    if events is not None:
        runtime.events.subscribe(lambda event: events.append(event.name))
    engine = jobs.MemoryEngine()
    made = await job.enqueue(engine, *args)
    async with jobs.Worker(engine, [job], runtime=runtime):
        await jobs.Runs(engine).wait_idle(timeout=3600)
    run = await jobs.Runs(engine).get(made.id)
    assert run is not None
    return run


@virtual_time
async def test_a_result_ends_the_run() -> None:
    @jobs.job
    async def body(number: int) -> int:
        return number + 1

    events: list[str] = []
    run = await ended(body, 3, events=events)
    assert (run.status, run.result, run.attempts) == ("done", "4", 0)
    assert [name for name in events if name in ("jobs.started", "jobs.finished")] == [
        "jobs.started",
        "jobs.finished",
    ]


@virtual_time
async def test_failed_attempts_are_repeated_after_the_backoff_until_they_are_used_up() -> None:
    at: list[float] = []
    dead: list[str] = []

    async def gone(name: str) -> None:
        dead.append(name)
        raise RuntimeError("its own errors are ignored")

    @jobs.job(attempts=3, backoff=constant(10), on_dead=gone)
    async def body(name: str) -> None:
        at.append(asyncio.get_running_loop().time())
        raise OSError("the disk is full")

    run = await ended(body, "ana")
    assert (run.status, run.error, dead) == ("dead", "OSError: the disk is full", ["ana"])
    assert len(at) == 3
    assert at[1] - at[0] >= 10
    assert at[2] - at[1] >= 10


@virtual_time
@pytest.mark.parametrize("error", [InvalidError("no such card"), KeyError("not in retry_on")])
async def test_an_error_that_another_attempt_cannot_help_ends_the_run_at_once(error: Exception) -> None:
    calls: list[int] = []

    @jobs.job(attempts=5, retry_on=(OSError, InvalidError))
    async def body() -> None:
        calls.append(1)
        raise error

    run = await ended(body)
    assert (run.status, len(calls)) == ("dead", 1)
    assert run.error.startswith(type(error).__name__)


@virtual_time
async def test_an_attempt_has_a_limit_and_the_run_a_deadline() -> None:
    calls: list[int] = []

    @jobs.job(attempts=2, timeout=5, backoff=constant(1))
    async def body() -> None:
        calls.append(1)
        await asyncio.sleep(1e6)

    run = await ended(body)
    assert (run.status, len(calls)) == ("dead", 2)
    assert run.error == "CallTimeoutError: the attempt took longer than 5 s"
    run = await ended(body.using(deadline=3))
    assert (run.status, len(calls)) == ("dead", 3)
    assert run.error == "DeadlineExceededError: the run's deadline has passed"


@virtual_time
async def test_a_long_error_is_cut() -> None:
    @jobs.job(attempts=1)
    async def body() -> None:
        raise OSError("x" * 100_000)

    assert len((await ended(body)).error) == 2000
