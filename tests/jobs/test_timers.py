"""Waits of a job that is called in place, and their arguments."""

from __future__ import annotations

import asyncio

import pytest

from prodkit import jobs
from prodkit.testing import virtual_time


@virtual_time
async def test_a_job_called_in_place_sleeps_as_long_as_it_says() -> None:
    @jobs.job
    async def nap() -> None:
        await jobs.sleep("nap", 3600)

    begun = asyncio.get_running_loop().time()
    await nap()
    assert asyncio.get_running_loop().time() - begun == pytest.approx(3600)


async def test_arguments_are_checked_before_anything_is_recorded() -> None:
    with pytest.raises(ValueError, match="seconds"):
        await jobs.sleep("nap", -1)
    with pytest.raises(ValueError, match="timeout"):
        await jobs.signal("go", timeout=0)
    with pytest.raises(RuntimeError, match="inside a job"):
        await jobs.sleep("nap", 1)


async def test_a_signal_needs_a_worker() -> None:
    @jobs.job
    async def waits() -> None:
        await jobs.signal("go")

    with pytest.raises(RuntimeError, match="needs a worker"):
        await waits()
