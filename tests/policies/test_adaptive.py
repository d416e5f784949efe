import asyncio
import random

import pytest

from prodkit import BulkheadFullError, Deadline
from prodkit.policies.adaptive import AdaptiveLimit, Gradient
from prodkit.testing import virtual_time


def drive(
    gradient: Gradient, latency: float, *, inflight: int | None = None, seconds: float = 10.0, at: float = 0.0
) -> float:
    now = at
    while now < at + seconds:
        now += 0.05
        gradient.answered(now, latency, int(gradient.limit) if inflight is None else inflight)
    return now


def test_a_used_limit_grows_while_latency_stays() -> None:
    gradient = Gradient(initial=10, max_limit=50)
    drive(gradient, 0.1, seconds=30)
    assert gradient.limit > 25
    drive(gradient, 0.1, seconds=300, at=30)
    assert gradient.limit == 50


def test_an_unused_limit_does_not_grow() -> None:
    gradient = Gradient(initial=10)
    drive(gradient, 0.1, inflight=3, seconds=60)
    assert gradient.limit == 10


def test_queueing_latency_shrinks_it_and_health_brings_it_back() -> None:
    gradient = Gradient(initial=40)
    now = drive(gradient, 0.07, seconds=20)
    full = gradient.limit
    now = drive(gradient, 0.28, seconds=10, at=now)
    assert gradient.limit < full / 3
    small = gradient.limit
    drive(gradient, 0.07, seconds=20, at=now)
    assert gradient.limit > 2 * small


def test_it_stays_within_its_bounds() -> None:
    gradient = Gradient(initial=5, min_limit=2, max_limit=8)
    now = drive(gradient, 0.01, seconds=100)
    assert gradient.limit == 8
    for _ in range(100):
        now += 1
        gradient.overloaded(now)
    assert gradient.limit == 2


def test_overload_cuts_at_most_once_an_interval() -> None:
    gradient = Gradient(initial=10)
    assert gradient.overloaded(1.0)
    assert not gradient.overloaded(1.1)
    assert gradient.limit == pytest.approx(7)


@virtual_time
async def test_it_finds_the_capacity_of_a_dependency() -> None:
    """Ten workers of 0.1 s behind a queue, asked 200 times a second: twice what they can do."""
    rng, workers, limit = random.Random(3), asyncio.Semaphore(10), AdaptiveLimit(initial=50)
    latencies: list[float] = []
    time = asyncio.get_running_loop().time

    async def upstream() -> None:
        began = time()
        async with workers:
            await asyncio.sleep(0.1)
        latencies.append(time() - began)

    async def user() -> bool:
        with Deadline.after(1):
            try:
                await limit.run(upstream)
            except BulkheadFullError:
                return False
            return True

    users = []
    for _ in range(4000):
        await asyncio.sleep(rng.expovariate(200))
        users.append(asyncio.create_task(user()))
    answered = sum(await asyncio.gather(*users))
    assert answered > 0.9 * 2000
    latencies.sort()
    assert latencies[len(latencies) // 2] < 0.25, "the queue is kept in front, not inside"
    assert (limit.inflight, limit.waiting) == (0, 0)


@virtual_time
async def test_errors_and_cancellations_teach_nothing_timeouts_do() -> None:
    limit = AdaptiveLimit(initial=10)

    async def fails(error: BaseException) -> None:
        raise error

    with pytest.raises(ValueError, match="bad"):
        await limit.run(fails, ValueError("bad"))
    task = asyncio.create_task(limit.run(asyncio.sleep, 10))
    await asyncio.sleep(1)
    task.cancel()
    await asyncio.wait([task])
    assert (limit.limit, limit.inflight) == (10, 0)
    with pytest.raises(TimeoutError):
        await limit.run(fails, TimeoutError())
    assert limit.limit == 7


def test_nonsense_is_refused_together() -> None:
    with pytest.raises(ValueError, match=r"initial.*got 500.*tolerance.*got 1"):
        AdaptiveLimit(initial=500, tolerance=1)
