import asyncio
import time
from datetime import UTC

from prodkit import Clock, LoopClock
from prodkit.testing import virtual_time


@virtual_time
async def test_durations_are_those_of_the_running_loop() -> None:
    clock = LoopClock()
    begun = clock.monotonic()
    await clock.sleep(3600)
    assert clock.monotonic() - begun == 3600 == asyncio.get_running_loop().time()


def test_outside_a_loop_it_is_the_system_clock() -> None:
    before = time.monotonic()
    assert before <= LoopClock().monotonic() <= time.monotonic()
    LoopClock().block(0)


def test_a_real_loop_and_the_system_clock_agree() -> None:
    async def inside() -> float:
        return LoopClock().monotonic()

    before = time.monotonic()
    assert before <= asyncio.run(inside()) <= time.monotonic()


def test_now_is_aware_and_the_protocol_is_met() -> None:
    assert LoopClock().now().tzinfo is UTC
    assert isinstance(LoopClock(), Clock)
    assert repr(LoopClock()) == "LoopClock()"
