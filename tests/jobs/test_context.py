"""Calls inside a job that record nothing."""

from __future__ import annotations

import asyncio

import pytest

from prodkit import jobs
from prodkit.testing import virtual_time


@virtual_time
async def test_a_limit_keeps_the_order_and_starts_no_more_than_it_says() -> None:
    started: list[int] = []

    async def work(number: int) -> int:
        started.append(number)
        await asyncio.sleep(1.0)
        return number

    begun = asyncio.get_running_loop().time()
    assert await jobs.gather(*(work(n) for n in range(6)), limit=2) == [0, 1, 2, 3, 4, 5]
    assert started == [0, 1, 2, 3, 4, 5]
    assert asyncio.get_running_loop().time() - begun == pytest.approx(3.0)


@virtual_time
async def test_an_error_waits_for_the_others() -> None:
    ended: list[str] = []

    async def slow() -> None:
        await asyncio.sleep(1.0)
        ended.append("slow")

    async def broken() -> None:
        raise OSError("away")

    with pytest.raises(OSError, match="away"):
        await jobs.gather(slow(), broken())
    assert ended == ["slow"]
    with pytest.raises(ExceptionGroup, match="2 steps failed"):
        await jobs.gather(broken(), broken())


async def test_a_bad_limit_leaves_no_coroutine_behind() -> None:
    async def work() -> None: ...

    with pytest.raises(ValueError, match="limit must be an integer"):
        await jobs.gather(work(), work(), limit=0)


@virtual_time
async def test_a_cancellation_reaches_those_that_wait_for_a_slot() -> None:
    async def forever() -> None:
        await asyncio.get_running_loop().create_future()

    task = asyncio.ensure_future(jobs.gather(forever(), forever(), forever(), limit=1))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_outside_a_job_each_call_says_so() -> None:
    for call in (jobs.current, lambda: jobs.idempotency_key("pay"), jobs.transaction):
        with pytest.raises(RuntimeError, match="inside a job"):
            call()
