"""Runs in memory, on virtual time; the contract of engines has the rest."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from prodkit import CallTimeoutError, jobs
from prodkit.jobs.errors import JobCancelledError, JobFailedError
from prodkit.testing import virtual_time


@jobs.job(name="add")
async def add(one: int, other: int) -> int:
    return one + other


@jobs.job(name="broken", attempts=1)
async def broken(secret: str) -> None:
    raise ValueError("the disk is full")


@virtual_time
async def test_a_result_is_waited_for() -> None:
    engine = jobs.MemoryEngine()
    runs = jobs.Runs(engine)
    run = await add.enqueue(engine, 1, 2)
    with pytest.raises(CallTimeoutError, match="had not ended after 3 s"):
        await runs.result(run.id, timeout=3)
    async with jobs.Worker(engine, [add]):
        assert await runs.result(run.id, job=add, timeout=60) == 3
    found = await runs.get(run.id)
    assert found is not None
    assert found.status == "done"


@virtual_time
async def test_an_unknown_a_dead_and_a_cancelled_run_have_errors_of_their_own() -> None:
    engine = jobs.MemoryEngine()
    runs = jobs.Runs(engine)
    with pytest.raises(LookupError, match="there is no run"):
        await runs.result(uuid4())
    assert await runs.get(uuid4()) is None
    dead, cancelled = await broken.enqueue(engine, "x"), await add.enqueue(engine, 1, 2)
    assert await runs.cancel(cancelled.id)
    assert not await runs.cancel(cancelled.id)
    async with jobs.Worker(engine, [broken, add]):
        with pytest.raises(JobFailedError, match="the disk is full") as failed:
            await runs.result(dead.id, timeout=60)
    assert failed.value.error == "ValueError"
    with pytest.raises(JobCancelledError, match="was cancelled"):
        await runs.result(cancelled.id)


@virtual_time
async def test_a_dead_run_can_be_queued_again_and_a_running_one_not() -> None:
    engine = jobs.MemoryEngine()
    runs = jobs.Runs(engine)
    run = await broken.enqueue(engine, "x")
    assert not await runs.retry(run.id)
    async with jobs.Worker(engine, [broken]):
        await runs.wait_idle(timeout=60)
    assert await runs.retry(run.id)
    [queued] = await runs.list(status="queued", kind="broken")
    assert queued.id == run.id


@virtual_time
async def test_a_snapshot_shows_no_arguments_and_no_results() -> None:
    engine = jobs.MemoryEngine()
    runs = jobs.Runs(engine)
    await broken.enqueue(engine, "a private text")
    async with jobs.Worker(engine, [broken]):
        await runs.wait_idle(timeout=60)
    snapshot = await runs.snapshot()
    assert [(run.kind, run.arguments) for run in snapshot.dead] == [("broken", "")]
    assert "private" not in repr(snapshot)
    with pytest.raises((TypeError, ValueError), match="limit"):
        await runs.snapshot(limit=0)


@virtual_time
async def test_work_that_nobody_does_degrades_the_health() -> None:
    engine = jobs.MemoryEngine()
    runs = jobs.Runs(engine, max_age=30)
    assert (await runs.check()).status == "up"
    await add.enqueue(engine, 1, 2)
    await asyncio.sleep(31)
    result = await runs.check()
    assert result.status == "degraded"
    assert "1 runs are due" in result.reason
    with pytest.raises(CallTimeoutError, match="work was left"):
        await runs.wait_idle(timeout=1)


@virtual_time
async def test_an_id_may_be_text_and_odd_arguments_are_refused() -> None:
    engine = jobs.MemoryEngine()
    runs: Any = jobs.Runs(engine)
    run = await add.enqueue(engine, 1, 2)
    assert (await runs.get(str(run.id))).id == run.id
    assert await runs.cancel(str(run.id))
    for call in (
        lambda: runs.get("nonsense"),
        lambda: runs.cancel(7),
        lambda: runs.list(status="finished"),
        lambda: runs.list(limit=-1),
        lambda: runs.purge(older=-1),
        lambda: runs.purge(older=1e300),
        lambda: runs.signal(run.id, "a\x00"),
        lambda: runs.resolve(run.id, "", 1),
        lambda: runs.retry(run.id, forget="step"),
        lambda: runs.result(run.id, timeout=-1),
    ):
        with pytest.raises((TypeError, ValueError)):
            await call()
