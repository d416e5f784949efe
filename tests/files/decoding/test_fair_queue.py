"""Slots are shared fairly between keys, and a cancelled caller leaves nothing behind."""

import asyncio
import random
import threading

import pytest

from prodkit import BulkheadFullError
from prodkit.files.decoding.fair_queue import FairQueue


async def test_keys_take_turns_and_each_key_is_first_come_first_served() -> None:
    queue, served, gate = FairQueue("decoding", 1, 100), list[str](), asyncio.Event()

    async def one(name: str, key: str) -> None:
        async with queue.slot(key):
            await gate.wait()
            served.append(name)

    tasks = [asyncio.create_task(one("first", "a"))]
    await asyncio.sleep(0)
    tasks += [asyncio.create_task(one(f"a{number}", "a")) for number in range(5)]
    tasks += [asyncio.create_task(one(f"b{number}", "b")) for number in range(2)]
    tasks += [asyncio.create_task(one("c0", "c"))]
    await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(*tasks)
    assert served == ["first", "a0", "b0", "c0", "a1", "b1", "a2", "a3", "a4"]


async def test_a_full_queue_refuses_at_once() -> None:
    queue = FairQueue("decoding", 1, 1)
    async with queue.slot("a"):
        waiting = asyncio.create_task(queue.slot("a").__aenter__())
        await asyncio.sleep(0)
        with pytest.raises(BulkheadFullError, match="1 files in decoding, 1 queued: the queue is full"):
            await queue.slot("b").__aenter__()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert queue.waiting == 0


async def test_random_cancels_lose_no_slot() -> None:
    chance = random.Random(5)
    queue, running, most = FairQueue("decoding", 2, 1000), 0, 0

    async def one(key: str) -> None:
        nonlocal running, most
        async with queue.slot(key):
            running += 1
            most = max(most, running)
            try:
                await asyncio.sleep(0)
            finally:
                running -= 1

    for _ in range(50):
        tasks = [asyncio.create_task(one(chance.choice("abc"))) for _ in range(12)]
        for _ in range(chance.randrange(6)):
            await asyncio.sleep(0)
        for task in chance.sample(tasks, 5):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert (running, most, queue.waiting) == (0, 2, 0)
    async with queue.slot("a"), queue.slot("b"):
        assert queue.waiting == 0


def test_two_event_loops_share_the_slots() -> None:
    queue, order = FairQueue("decoding", 1, 10), list[str]()
    held, release = threading.Event(), threading.Event()

    async def hold() -> None:
        async with queue.slot("a"):
            held.set()
            await asyncio.to_thread(release.wait)
            order.append("first loop")

    async def wait() -> None:
        async with queue.slot("b"):
            order.append("second loop")

    first = threading.Thread(target=lambda: asyncio.run(hold()))
    first.start()
    held.wait()
    second = threading.Thread(target=lambda: asyncio.run(wait()))
    second.start()
    while not queue.waiting:
        pass
    release.set()
    first.join(10)
    second.join(10)
    assert order == ["first loop", "second loop"]
