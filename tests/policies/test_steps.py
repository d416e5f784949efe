import asyncio

import pytest

import prodkit as pk
from prodkit.policies.steps import drive, settled
from prodkit.testing import virtual_time


def test_synchronous_code_drives_steps_that_never_suspend() -> None:
    async def steps(value: int) -> int:
        return value

    async def suspends() -> None:
        await asyncio.sleep(0)

    assert drive(steps(3)) == 3
    with pytest.raises(TypeError, match="async strategy"):
        drive(suspends())
    with pytest.raises(TypeError, match="async strategy"):
        pk.Retry(attempts=2, on=asks_later, wait=0).call(int, "x")


async def asks_later(error: BaseException) -> bool:
    await asyncio.sleep(0)
    return True


@virtual_time
async def test_a_callback_may_be_sync_or_async() -> None:
    assert await settled(3) == 3
    assert await settled(asyncio.sleep(5, "slept")) == "slept"
