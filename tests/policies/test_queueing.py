"""The wait queue: priorities, deadlines, displaced callers, and loops that were closed."""

import asyncio
import math

import pytest

from prodkit.policies.queueing import Order, Slots, WaitQueue
from prodkit.testing import virtual_time


def queue(order: Order, size: int = 3) -> WaitQueue:
    return WaitQueue(max_waiting=size, order=order, lost=lambda: None)


async def served(waiting: WaitQueue, callers: dict[str, tuple[float, int]]) -> list[str]:
    """Let the callers queue one after the other, serve them all, and return the order."""
    order: list[str] = []

    async def wait(name: str, latest: float, priority: int) -> None:
        verdict = await waiting.wait(latest, priority)
        order.append(name if verdict is None else f"{name} {verdict}")

    tasks = []
    for name, (latest, priority) in callers.items():
        tasks.append(asyncio.ensure_future(wait(name, latest, priority)))
        await asyncio.sleep(0.01)
    while waiting.call():
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    return order


@virtual_time
async def test_higher_priorities_first_and_the_order_among_equals() -> None:
    callers = {"a": (math.inf, 0), "b": (math.inf, 2), "c": (math.inf, 2), "d": (math.inf, 1)}
    assert await served(queue("fifo", 4), callers) == ["b", "c", "d", "a"]
    assert await served(queue("lifo", 4), callers) == ["c", "b", "d", "a"]


@virtual_time
async def test_the_nearest_deadline_first() -> None:
    callers = {"a": (50.0, 0), "b": (20.0, 0), "c": (math.inf, 0), "d": (90.0, 1)}
    assert await served(queue("deadline", 4), callers) == ["d", "b", "a", "c"]


@virtual_time
async def test_a_full_queue() -> None:
    callers = {"a": (math.inf, 0), "b": (math.inf, 0), "c": (math.inf, 0), "d": (math.inf, 1)}
    assert await served(queue("fifo", 2), callers) == ["c full", "b displaced", "d", "a"]
    assert await served(queue("lifo", 2), callers) == ["a displaced", "b displaced", "d", "c"]
    longer = {"a": (math.inf, 0), "b": (math.inf, 0), "c": (math.inf, 0), "d": (math.inf, 1)}
    assert await served(queue("fifo", 3), longer) == ["c displaced", "d", "a", "b"]
    lower = {"a": (math.inf, 1), "b": (math.inf, 1), "c": (math.inf, 0)}
    assert await served(queue("lifo", 2), lower) == ["c full", "b", "a"]
    assert await served(queue("fifo", 0), {"a": (math.inf, 5)}) == ["a full"]


@virtual_time
async def test_a_queue_that_stands_still_turns_round() -> None:
    waiting = queue("adaptive")
    tasks = [asyncio.ensure_future(waiting.wait(math.inf)) for _ in range(3)]
    await asyncio.sleep(0.05)
    assert waiting.call()
    await asyncio.sleep(0)
    assert [task.done() for task in tasks] == [True, False, False]
    await asyncio.sleep(0.05)
    assert waiting.call()
    await asyncio.sleep(0)
    assert [task.done() for task in tasks] == [True, False, True]
    assert len(waiting) == 1
    assert waiting.call()
    await asyncio.gather(*tasks)
    assert not waiting.call()


@virtual_time
async def test_a_caller_without_time_is_late() -> None:
    loop = asyncio.get_running_loop()
    assert await queue("fifo").wait(loop.time()) == "late"
    assert await queue("fifo").wait(loop.time() + 2) == "late"
    assert loop.time() == 2


def test_waiters_of_a_closed_loop_are_forgotten() -> None:
    waiting = queue("fifo")
    dead = asyncio.new_event_loop()
    task = dead.create_task(waiting.wait(math.inf))
    dead.run_until_complete(asyncio.sleep(0))

    async def meet() -> None:
        waiting.meet(asyncio.get_running_loop())

    with pytest.raises(RuntimeError, match="another event loop"):
        asyncio.run(meet())
    dead.close()
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    asyncio.run(meet())
    assert len(waiting) == 0
    assert not waiting.call()


def test_a_turn_finds_no_caller_on_a_closed_loop() -> None:
    waiting = queue("fifo")
    dead = asyncio.new_event_loop()
    task = dead.create_task(waiting.wait(math.inf))
    dead.run_until_complete(asyncio.sleep(0))
    dead.close()
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    assert not waiting.call()
    assert len(waiting) == 0


@virtual_time
async def test_slots_follow_their_limit() -> None:
    slots = Slots(1, max_queue=5, order="fifo")
    assert slots.enter()
    assert not slots.enter()
    tasks = [asyncio.ensure_future(slots.wait(math.inf)) for _ in range(3)]
    await asyncio.sleep(0)
    assert (slots.inflight, slots.waiting) == (1, 3)
    slots.limit = 3
    slots.admit()
    await asyncio.sleep(0)
    assert (slots.inflight, slots.waiting) == (3, 1)
    slots.leave()
    assert await asyncio.gather(*tasks) == [None, None, None]
    assert (slots.inflight, slots.waiting) == (3, 0)
