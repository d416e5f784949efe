from __future__ import annotations

import asyncio

import pytest

from prodkit import cache
from prodkit.errors import LockHeldError
from prodkit.testing.loop import virtual_time


@virtual_time
async def test_one_holder_in_this_process() -> None:
    inside, most = 0, 0

    async def work() -> int:
        nonlocal inside, most
        async with cache.Lock(None, "x") as lock:
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(1)
            inside -= 1
            return lock.token

    tokens = await asyncio.gather(*(work() for _ in range(5)))
    assert most == 1
    assert tokens == [1, 2, 3, 4, 5]


@virtual_time
async def test_waiting_has_an_end() -> None:
    async with cache.Lock(None, "x"):
        with pytest.raises(LockHeldError):
            await cache.Lock(None, "x").acquire(wait=0)
        with pytest.raises(LockHeldError):
            await cache.Lock(None, "x", wait=2).acquire()
        assert asyncio.get_running_loop().time() == pytest.approx(2)
        async with cache.Lock(None, "y"):
            pass


@virtual_time
async def test_misuse() -> None:
    with pytest.raises(ValueError, match="lease"):
        cache.Lock(None, "x", lease=0)
    lock = cache.Lock(None, "x")
    async with lock:
        with pytest.raises(RuntimeError, match="holds"):
            await lock.acquire()
    await lock.release()
