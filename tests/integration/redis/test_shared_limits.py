"""A budget and a concurrency limit that several processes share, on every server that is installed."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from typing import Any

import pytest

from prodkit.errors import BulkheadFullError, RedisError
from prodkit.policies import Retry
from prodkit.redis import RedisLink, SharedBulkhead, SharedRetryBudget, shared_bulkhead, shared_slots
from prodkit.testing.proxy import Proxy
from prodkit.testing.servers import Redis, RedisCluster, redis_binaries

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module", params=sorted(redis_binaries()))
def redis_server(request: pytest.FixtureRequest) -> Iterator[Redis]:
    with Redis(binary=redis_binaries()[request.param]) as server:
        yield server


async def until(condition: Any, limit: float = 5.0) -> None:
    async with asyncio.timeout(limit):
        while not condition():
            await asyncio.sleep(0.005)


class Load:
    def __init__(self, seconds: float = 0.02) -> None:
        self.seconds = seconds
        self.now = self.highest = self.done = 0

    async def __call__(self) -> None:
        self.now += 1
        self.highest = max(self.highest, self.now)
        try:
            await asyncio.sleep(self.seconds)
        finally:
            self.now -= 1
        self.done += 1


async def exceeds_never(urls: list[str]) -> None:
    load = Load()
    links = [RedisLink(url, timeout=10, connect_timeout=10) for url in urls]
    try:
        fleet = [SharedBulkhead(link, 4, name="api", replicas=len(links)) for link in links]
        await asyncio.gather(*(fleet[number % len(fleet)].run(load) for number in range(60)))
        assert load.highest == 4
        assert load.done == 60
        for each in fleet:
            await each.aclose()
        key = "{bulkhead:api}:slots"
        assert await links[0].execute("ZCARD", key, key=key) == 0
    finally:
        for link in links:
            await link.aclose()


async def test_all_processes_together_run_no_more_than_the_limit(redis_url: str) -> None:
    await exceeds_never([redis_url] * 3)


async def test_on_a_cluster() -> None:
    with RedisCluster() as cluster:
        await exceeds_never([cluster.url] * 2)


async def test_cancelled_callers_leave_no_slot_behind(redis_url: str) -> None:
    async with (
        RedisLink(redis_url, timeout=10, connect_timeout=10) as link,
        RedisLink(redis_url, timeout=10, connect_timeout=10) as other,
    ):
        here, there = SharedBulkhead(link, 2), SharedBulkhead(other, 2, queue_timeout=2)
        load = Load(0.01)
        tasks = [asyncio.ensure_future(here.run(load)) for _ in range(80)]
        for number, task in enumerate(tasks):
            if number % 2:
                asyncio.get_running_loop().call_later(number * 0.002, task.cancel)
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(there.run(load), there.run(load))
        assert load.highest <= 2
        await here.aclose()
        await there.aclose()


async def test_a_slot_that_another_process_frees_is_handed_on_at_once(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (
        "_FIRST_LOOK",
        "_LAST_LOOK",
        "_WAITING",
    ):  # no waiter asks by itself in the time of this test
        monkeypatch.setattr(shared_bulkhead, name, 60_000 if name == "_WAITING" else 60)
    links = [RedisLink(redis_url, timeout=10, connect_timeout=10) for _ in range(3)]
    fleet = [SharedBulkhead(link, 2, name="handover") for link in links]
    served: list[int] = []
    held = [fleet[0].hold(), fleet[0].hold()]
    for each in held:
        await each.__aenter__()

    async def work(number: int) -> None:
        served.append(number)
        await asyncio.sleep(0.01)

    waiting: list[asyncio.Future[None]] = []
    for number in range(6):
        waiting.append(asyncio.ensure_future(fleet[number % 3].run(work, number)))
        await asyncio.sleep(0.02)
    assert served == []
    async with asyncio.timeout(20):
        for each in held:  # both at once: the process that is woken wakes the next one
            await each.__aexit__(None, None, None)
        await asyncio.gather(*waiting)
    assert sorted(served) == list(range(6))
    for bulkhead, link in zip(fleet, links, strict=True):
        await bulkhead.aclose()
        await link.aclose()


async def test_a_slot_whose_reply_came_too_late_is_its_callers(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis has given the only slot, and the process does not know: asked again, it gives the same one."""
    asked: list[str] = []

    async def late(link: RedisLink, **call: Any) -> Any:
        reply = await shared_slots.TAKE(link, **call)
        asked.append(call["args"][1])
        if len(asked) == 1:
            raise RedisError("too late")
        return reply

    async with RedisLink(redis_url, timeout=10, connect_timeout=10) as link:
        bulkhead = SharedBulkhead(link, 1, name="late", lease=60)
        await bulkhead.run(asyncio.sleep, 0)
        await bulkhead._tasks["release"]
        monkeypatch.setattr(shared_bulkhead, "TAKE", late)
        bulkhead._held.add("another's")  # its share is used up: it has to ask again
        async with asyncio.timeout(5):
            await bulkhead.run(asyncio.sleep, 0)
        assert len(asked) == 2
        assert len(set(asked)) == 1
        await bulkhead.aclose()


async def test_thousands_of_slots_are_released_together(redis_url: str) -> None:
    async with RedisLink(redis_url, timeout=10, connect_timeout=10) as link:
        bulkhead = SharedBulkhead(link, 9000, name="many", lease=60)
        names = [f"me:{number}" for number in range(9000)]
        await shared_slots.RENEW(link, keys=bulkhead._keys[:1], args=[60_000, *names])
        for name in names:
            bulkhead._leave(name)
        await bulkhead.aclose()
        assert await link.execute("ZCARD", bulkhead._keys[0]) == 0


async def test_the_slots_of_a_dead_process_are_free_after_its_lease(redis_url: str) -> None:
    async with (
        RedisLink(redis_url, timeout=10, connect_timeout=10) as link,
        RedisLink(redis_url, timeout=10, connect_timeout=10) as other,
    ):
        dead, alive = SharedBulkhead(link, 1, lease=0.4), SharedBulkhead(other, 1, lease=0.4, queue_timeout=3)
        running = asyncio.ensure_future(dead.run(asyncio.sleep, 30))
        await until(lambda: dead.inflight == 1)
        await asyncio.sleep(0.6)  # renewed during that time
        with pytest.raises(BulkheadFullError):
            await SharedBulkhead(other, 1, max_queue=0).run(asyncio.sleep, 0)
        await dead.aclose()  # it renews no more, as if it had been killed
        await alive.run(asyncio.sleep, 0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await alive.aclose()


async def test_an_outage_leaves_each_process_its_share(
    proxy: Proxy, proxied_url: str, redis_url: str
) -> None:
    async with (
        RedisLink(proxied_url, timeout=10, connect_timeout=10) as lossy,
        RedisLink(redis_url, timeout=10, connect_timeout=10) as direct,
    ):
        here, there = SharedBulkhead(lossy, 4, replicas=2), SharedBulkhead(direct, 4, max_queue=0)
        await here.run(asyncio.sleep, 0)
        proxy.refuse()
        load = Load(0.3)
        tasks = [asyncio.ensure_future(here.run(load)) for _ in range(3)]
        await until(lambda: load.now == 2)
        assert (await here.check()).status == "degraded"
        proxy.heal()
        await until(lambda: lossy.up)
        await asyncio.gather(*tasks)
        running = [asyncio.ensure_future(here.run(asyncio.sleep, 30)) for _ in range(4)]
        await until(lambda: here.inflight == 4)
        with pytest.raises(BulkheadFullError):
            await there.run(asyncio.sleep, 0)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await here.aclose()
        await there.aclose()


async def test_a_fleet_pays_from_one_account(redis_url: str) -> None:
    links = [RedisLink(redis_url, timeout=10, connect_timeout=10) for _ in range(3)]
    try:
        fleet = [SharedRetryBudget(link, capacity=30, floor=0, ratio=0.5, replicas=3) for link in links]
        for each in fleet:
            await each.start()
        paid = 0
        for _ in range(40):
            paid += sum(each.withdraw(OSError()) for each in fleet)
            await asyncio.sleep(0.01)
        assert paid == 15  # half of the capacity, all of it, and no more
        for _ in range(40):
            fleet[0].deposit()
        await until(lambda: fleet[0].balance > 0)
        for _ in range(60):
            paid += fleet[2].withdraw(OSError())
            await asyncio.sleep(0.01)
        assert 15 < paid <= 15 + 20  # what one process earned, another one pays with
        await asyncio.gather(*(each.aclose() for each in fleet))
        for _ in range(60):
            await fleet[1].start()
            paid += fleet[1].withdraw(OSError())
            await fleet[1].aclose()
        assert paid == 15 + 20
    finally:
        for link in links:
            await link.aclose()


async def test_a_budget_goes_on_alone_during_an_outage(proxy: Proxy, proxied_url: str) -> None:
    async with RedisLink(proxied_url, timeout=10, connect_timeout=10) as lossy:
        budget = SharedRetryBudget(lossy, capacity=20, floor=0, replicas=2)
        async with budget:
            assert budget.withdraw(OSError())
            proxy.refuse()
            with pytest.raises(Exception, match="Redis"):
                await lossy.execute("PING")
            assert [budget.withdraw(OSError()) for _ in range(6)] == [True] * 5 + [False]
            proxy.heal()
            await until(lambda: lossy.up)
            assert budget.withdraw(OSError())
        assert not math.isinf(budget.balance)


async def test_retries_stop_when_the_fleet_has_spent_it(redis_url: str) -> None:
    async with (
        RedisLink(redis_url, timeout=10, connect_timeout=10) as link,
        SharedRetryBudget(link, capacity=4, floor=0) as budget,
    ):
        calls = 0

        async def fails() -> None:
            nonlocal calls
            calls += 1
            raise OSError

        retry = Retry(attempts=10, wait=lambda _: 0.001, budget=budget)
        with pytest.raises(OSError):
            await retry.run(fails)
        assert calls <= 1 + 2 + 1
