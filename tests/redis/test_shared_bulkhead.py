"""Without a Redis: the share of this process. With one: tests/integration/redis/test_shared_limits.py."""

from __future__ import annotations

import asyncio

import pytest

from prodkit.core.deadline import Deadline
from prodkit.core.runtime import Runtime
from prodkit.errors import BulkheadFullError
from prodkit.policies.events import BulkheadRejected
from prodkit.redis import RedisLink, SharedBulkhead
from prodkit.testing.loop import virtual_time


@virtual_time
async def test_a_process_alone_has_its_share() -> None:
    bulkhead = SharedBulkhead(RedisLink(None), 5, replicas=2)
    highest = 0

    async def work() -> None:
        nonlocal highest
        highest = max(highest, bulkhead.inflight)
        await asyncio.sleep(0.1)

    await asyncio.gather(*(bulkhead.run(work) for _ in range(10)))
    assert highest == 3
    assert bulkhead.inflight == bulkhead.waiting == 0
    assert (await bulkhead.check()).status == "up"
    await bulkhead.aclose()


@virtual_time
async def test_refusals() -> None:
    runtime = Runtime()
    events: list[BulkheadRejected] = []
    runtime.events.subscribe(events.append, BulkheadRejected)
    bulkhead = SharedBulkhead(RedisLink(None), 1, name="api", max_queue=1, queue_timeout=1, runtime=runtime)
    async with bulkhead.hold():
        late = asyncio.ensure_future(bulkhead.run(asyncio.sleep, 0))
        await asyncio.sleep(0.1)
        with pytest.raises(BulkheadFullError, match="queue is full"):
            await bulkhead.run(asyncio.sleep, 0)
        with pytest.raises(BulkheadFullError, match="no slot became free"):
            await late
        with Deadline.after(0.1), pytest.raises(BulkheadFullError, match="no slot became free"):
            await bulkhead.run(asyncio.sleep, 0)
    assert [each.reason for each in events] == ["full", "late", "late"]
    await bulkhead.run(asyncio.sleep, 0)
    await bulkhead.aclose()


@virtual_time
async def test_callers_of_one_process_are_served_in_order_and_a_cancelled_one_leaves() -> None:
    bulkhead = SharedBulkhead(RedisLink(None), 1)
    served: list[int] = []

    async def work(number: int) -> None:
        served.append(number)
        await asyncio.sleep(0.1)

    tasks = [asyncio.ensure_future(bulkhead.run(work, number)) for number in range(5)]
    await asyncio.sleep(0.05)
    tasks[2].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert served == [0, 1, 3, 4]
    await bulkhead.aclose()


@virtual_time
async def test_a_stream_holds_its_slot_until_its_end() -> None:
    bulkhead = SharedBulkhead(RedisLink(None), 1)

    @bulkhead
    async def numbers():  # type: ignore[no-untyped-def]
        for number in range(3):
            yield number

    async for _ in numbers():
        assert bulkhead.inflight == 1
    assert bulkhead.inflight == 0
    await bulkhead.aclose()


def test_misuse() -> None:
    with pytest.raises(ValueError, match="limit") as problem:
        SharedBulkhead(RedisLink(None), 0, lease=-1)
    assert "lease" in str(problem.value)
    with pytest.raises(TypeError):
        SharedBulkhead(RedisLink(None), 1).call(print)
