from __future__ import annotations

import asyncio

import pytest

from prodkit import cache
from prodkit.cache.lock import _Numbers
from prodkit.errors import LockHeldError
from prodkit.testing.loop import virtual_time


@virtual_time
async def test_one_holder_in_this_process() -> None:
    inside, most = 0, 0

    async def work() -> int:
        nonlocal inside, most
        async with cache.Lock(None, "counted") as lock:
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(1)
            inside -= 1
            return lock.token

    tokens = await asyncio.gather(*(work() for _ in range(5)))
    assert most == 1
    first = tokens[0]
    assert tokens == [first, first + 1, first + 2, first + 3, first + 4]


def test_a_local_token_grows_without_a_holder_in_between_and_in_a_later_loop() -> None:
    tokens: list[int] = []

    async def twice() -> None:
        for _ in range(2):
            async with cache.Lock(None, "again") as lock:
                tokens.append(lock.token)

    asyncio.run(twice())
    asyncio.run(twice())
    assert tokens == sorted(set(tokens))


def test_the_numbers_of_local_locks_are_bounded_and_still_grow() -> None:
    numbers = _Numbers(2)
    a = [numbers.next(("", "a")) for _ in range(5)]
    assert a == [1, 2, 3, 4, 5]
    assert [numbers.next(("", name)) for name in "bc"] == [1, 1]  # a is forgotten
    assert numbers.next(("", "a")) == 6
    assert numbers.next(("", "d")) == 6


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
    for wait in (-1, float("nan"), True, "1"):
        with pytest.raises((ValueError, TypeError), match="wait"):
            await lock.acquire(wait=wait)  # type: ignore[arg-type]
    assert not lock.held
