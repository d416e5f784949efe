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


@virtual_time
async def test_a_job_that_calls_exit_or_lets_a_foreign_cancellation_out_is_a_failed_attempt() -> None:
    async def leave() -> None:
        raise SystemExit(3)

    @jobs.job(name="body", attempts=1)
    async def in_the_body() -> None:
        raise SystemExit(3)

    @jobs.job(name="steps", attempts=1)
    async def in_two_steps() -> None:
        await jobs.gather(jobs.step("a", leave), jobs.step("b", leave))

    @jobs.job(name="cancelled", attempts=2, backoff=constant(1))
    async def cancelled() -> None:
        other = asyncio.ensure_future(asyncio.sleep(60))
        other.cancel()
        await other

    assert (await ended(in_the_body)).error == "RuntimeError: the job raised SystemExit: 3"
    assert (await ended(in_two_steps)).error.startswith("ExceptionGroup: 2 steps failed")
    run = await ended(cancelled)
    assert (run.status, run.attempts, run.takes) == ("dead", 2, 2)
    assert run.error == "RuntimeError: the job raised CancelledError"


@virtual_time
async def test_a_result_that_cannot_be_stored_is_not_paid_for_again() -> None:
    calls: list[int] = []

    async def pay() -> object:
        calls.append(1)
        return object()

    @jobs.job(attempts=5)
    async def body() -> None:
        await jobs.gather(jobs.step("pay", pay))

    run = await ended(body)
    assert (run.status, len(calls)) == ("dead", 1)
    assert "object cannot be stored as JSON" in run.error


@virtual_time
async def test_each_error_of_a_group_decides_about_the_next_attempt() -> None:
    async def fail(error: Exception) -> None:
        raise error

    @jobs.job(attempts=3, retry_on=OSError, backoff=constant(1))
    async def body(wrong: bool) -> None:
        errors = (OSError("away"), InvalidError("no such card") if wrong else OSError("away"))
        await jobs.gather(*(jobs.step(f"s{n}", fail, error) for n, error in enumerate(errors)))

    assert (await ended(body, False)).takes == 3
    assert (await ended(body, True)).takes == 1


@virtual_time
async def test_a_backoff_that_does_not_work_does_not_lose_the_run() -> None:
    @jobs.job(attempts=2, backoff=lambda attempt, rng, last: 1 / 0)
    async def body() -> None:
        raise OSError("the disk is full")

    run = await ended(body)
    assert (run.status, run.takes, run.error) == ("dead", 2, "OSError: the disk is full")


@virtual_time
async def test_what_a_body_left_behind_ends_when_the_run_leaves_its_worker() -> None:
    left: list[asyncio.Task[Any]] = []

    async def long() -> None:
        await asyncio.sleep(1e6)

    @jobs.job(attempts=1)
    async def body() -> None:
        left.append(asyncio.create_task(jobs.step("long", long)))  # type: ignore[arg-type]
        left.append(asyncio.create_task(jobs.signal("never")))
        await asyncio.Event().wait()

    engine = jobs.MemoryEngine()
    run = await body.enqueue(engine)
    async with jobs.Worker(engine, [body]):
        await asyncio.sleep(5)
        assert len(left) == 2
        await jobs.Runs(engine).cancel(run.id)
        await asyncio.sleep(0.1)
        assert all(task.cancelled() for task in left)


@virtual_time
async def test_the_next_run_begins_while_the_end_of_the_one_before_is_written() -> None:
    class Slow(jobs.MemoryEngine):
        async def finish(self, *args: Any, **options: Any) -> bool:
            await asyncio.sleep(10)
            return await super().finish(*args, **options)

    at: list[float] = []
    busy = most = 0

    @jobs.job
    async def body() -> None:
        nonlocal busy, most
        at.append(asyncio.get_running_loop().time())
        busy += 1
        most = max(most, busy)
        await asyncio.sleep(1)
        busy -= 1

    engine = Slow()
    for _ in range(3):
        await body.enqueue(engine)
    async with jobs.Worker(engine, [body], concurrency=1):
        await jobs.Runs(engine).wait_idle(timeout=600)
    assert most == 1
    assert at[1] - at[0] < 2
    assert at[2] - at[0] > 10  # two ends are being written: as many as runs may run
