"""Calls of one tick: sent together, each with its own deadline, in whichever loop they are made."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest

from prodkit.core.deadline import Deadline
from prodkit.errors import DeadlineExceededError
from prodkit.redis.tick import Tick
from prodkit.testing.loop import virtual_time


class Backend:
    """Doubles numbers, and keeps what it was sent together."""

    def __init__(self, delay: float = 0.0, most: int = 100) -> None:
        self.sent: list[list[int]] = []
        self.delay = delay
        self.tick: Tick[int, int] = Tick(self.send, most)

    async def send(self, items: list[int]) -> list[int]:
        self.sent.append(items)
        await asyncio.sleep(self.delay)
        if -1 in items:
            raise ConnectionError("no")
        return [2 * item for item in items]

    async def double(self, item: int) -> int:
        future = self.tick.join(item)
        return (await self.send([item]))[0] if future is None else await future


async def test_a_lone_call_sends_for_itself_and_those_of_one_tick_go_together() -> None:
    backend = Backend()
    assert await backend.double(1) == 2
    assert await asyncio.gather(*map(backend.double, range(1, 5))) == [2, 4, 6, 8]
    assert backend.sent == [[1], [1], [2, 3, 4]]


async def test_after_a_tick_of_several_the_first_one_waits_for_the_others() -> None:
    backend = Backend()
    await asyncio.gather(*map(backend.double, range(4)))
    await asyncio.gather(*map(backend.double, range(4)))
    assert backend.sent[-1] == [0, 1, 2, 3]
    assert await backend.double(5) == 10
    assert await backend.double(6) == 12  # a lone one again
    assert backend.sent[-2:] == [[5], [6]]


async def test_no_more_than_the_most_are_sent_together() -> None:
    backend = Backend(most=3)
    assert await asyncio.gather(*map(backend.double, range(9))) == [2 * n for n in range(9)]
    assert [len(each) for each in backend.sent] == [1, 3, 3, 2]


async def test_an_error_reaches_every_caller_of_its_batch() -> None:
    backend = Backend(most=2)
    found = await asyncio.gather(*map(backend.double, (1, -1, 2, 3)), return_exceptions=True)
    assert [type(each) for each in found] == [int, ConnectionError, ConnectionError, int]


async def test_a_call_that_was_cancelled_is_not_sent_and_spoils_nothing() -> None:
    backend = Backend()
    tasks = [asyncio.ensure_future(backend.double(n)) for n in range(4)]
    await asyncio.sleep(0)
    tasks[2].cancel()
    assert await asyncio.gather(*tasks[:2], tasks[3]) == [0, 2, 6]
    assert backend.sent == [[0], [1, 3]]


@virtual_time
async def test_each_caller_leaves_at_its_own_deadline() -> None:
    backend = Backend(delay=5)
    loop = asyncio.get_running_loop()
    began = loop.time()

    async def call(number: int, seconds: float) -> tuple[float, float | None] | int:
        with Deadline.after(seconds):
            try:
                return await backend.double(number)
            except DeadlineExceededError as error:
                return round(loop.time() - began, 6), error.timeout

    found = await asyncio.gather(backend.double(0), call(1, 1), call(2, 1), call(3, 2), call(4, 60))
    assert found == [0, (1.0, 1.0), (1.0, 1.0), (2.0, 2.0), 8]


def test_what_waited_in_a_loop_that_ended_is_forgotten() -> None:
    backend = Backend()

    async def leave() -> None:
        await asyncio.gather(*map(backend.double, range(3)))
        backend.tick.join(1)

    asyncio.run(leave())
    backend.sent.clear()

    async def again() -> None:
        assert await asyncio.gather(*map(backend.double, range(3))) == [0, 2, 4]

    asyncio.run(again())
    assert backend.sent == [[0], [1, 2]]


@pytest.mark.parametrize("number", [1, 50])
async def test_results_are_matched_in_order(number: int) -> None:
    backend = Backend()
    await asyncio.gather(*map(backend.double, range(2)))
    assert await asyncio.gather(*map(backend.double, range(number))) == [2 * n for n in range(number)]


async def test_an_error_is_freed_without_the_garbage_collector() -> None:
    class Refused(Exception):
        def __init__(self) -> None:
            made.append(weakref.ref(self))

    made: list[weakref.ref[BaseException]] = []

    async def send(items: list[int]) -> list[int]:
        raise Refused

    tick: Tick[int, int] = Tick(send, 10)

    async def call(number: int) -> None:
        future = tick.join(number)
        try:
            if future is not None:
                await future
        except Refused:
            pass
        finally:
            del future

    gc.collect()
    gc.disable()
    try:
        await asyncio.gather(*map(call, range(4)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert [each() for each in made] == [None]
    finally:
        gc.enable()
