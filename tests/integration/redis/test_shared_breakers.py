from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from prodkit.errors import CircuitOpenError
from prodkit.policies.breaker import CircuitBreaker
from prodkit.redis import RedisLink, SharedBreakers
from prodkit.testing.proxy import Proxy

pytestmark = pytest.mark.integration


class Process:
    """The parts of one process: a link, its share of the news, a breaker."""

    def __init__(self, url: str, **options: Any) -> None:
        self.link = RedisLink(url, timeout=10, connect_timeout=10)
        self.shared = SharedBreakers(self.link)
        self.breaker = CircuitBreaker("api", failures=2, shared=self.shared, **options)
        self.calls = 0
        self.broken = False

    async def call(self) -> str:
        self.calls += 1
        await asyncio.sleep(0.02)
        if self.broken:
            raise ConnectionError
        return "ok"

    async def fail(self, times: int = 2) -> None:
        self.broken = True
        for _ in range(times):
            with pytest.raises(ConnectionError):
                await self.breaker.run(self.call)
        self.broken = False


async def until(condition: Any, limit: float = 5.0) -> None:
    async with asyncio.timeout(limit):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.fixture
async def processes(redis_url: str) -> AsyncIterator[list[Process]]:
    async with AsyncExitStack() as stack:
        several = [Process(redis_url, open_for=0.4) for _ in range(5)]
        for each in several:
            await stack.enter_async_context(each.link)
            await stack.enter_async_context(each.shared)
        await until(lambda: all(each.shared._listening for each in several))
        yield several


async def test_all_open_when_one_does_and_one_alone_probes(processes: list[Process]) -> None:
    first = processes[0]
    await first.fail()
    await until(lambda: all(each.breaker.state == "open" for each in processes), 1)
    with pytest.raises(CircuitOpenError):
        await processes[4].breaker.run(processes[4].call)
    await until(lambda: all(each.breaker.state == "half_open" for each in processes), 2)
    results = await asyncio.gather(
        *(each.breaker.run(each.call) for each in processes), return_exceptions=True
    )
    assert sorted(map(str, results)).count("ok") == 1
    assert sum(each.calls for each in processes[1:]) + first.calls - 2 == 1
    await until(lambda: all(each.breaker.state == "closed" for each in processes), 1)


async def test_a_failed_probe_opens_all_again(processes: list[Process]) -> None:
    await processes[0].fail()
    await until(lambda: all(each.breaker.state == "half_open" for each in processes), 2)
    await processes[1].fail(1)
    await until(lambda: all(each.breaker.state == "open" for each in processes), 1)


async def test_a_closed_circuit_asks_nothing(processes: list[Process], redis_url: str) -> None:
    async with RedisLink(redis_url, timeout=10, connect_timeout=10) as witness:

        async def commands(client: Any) -> int:
            return int((await client.info("stats"))["total_commands_processed"])

        before = await witness.run(commands)
        for each in processes:
            for _ in range(20):
                await each.breaker.run(each.call)
        assert await witness.run(commands) - before <= 2  # its own questions


async def test_who_comes_later_learns_what_is_open(processes: list[Process], redis_url: str) -> None:
    long = Process(redis_url, open_for=60)
    late = Process(redis_url, open_for=60)
    async with long.link, long.shared:
        await long.fail()
        await until(lambda: not long.shared._unsent)
        async with late.link, late.shared:
            await until(lambda: late.breaker.state == "open", 2)


async def test_a_lease_of_a_dead_process_ends(redis_url: str) -> None:
    link = RedisLink(redis_url, timeout=10, connect_timeout=10)
    async with link:
        dead, alive = SharedBreakers(link), SharedBreakers(link)
        assert await dead.claim("api", 0.2) is None
        assert await dead.claim("api", 0.2) is None  # its own
        wait = await alive.claim("api", 0.2)
        assert wait is not None
        await asyncio.sleep(wait)
        assert await alive.claim("api", 0.2) is None


async def test_the_wait_for_a_lease_is_never_too_short(redis_url: str) -> None:
    async with RedisLink(redis_url, timeout=10, connect_timeout=10) as link:
        holders = [SharedBreakers(link), SharedBreakers(link)]
        for turn in range(40):
            assert await holders[turn % 2].claim("api", 0.01) is None
            wait = await holders[(turn + 1) % 2].claim("api", 0.01)
            await asyncio.sleep(wait or 0)


async def test_without_redis_each_decides_alone(proxy: Proxy, proxied_url: str, redis_url: str) -> None:
    proxy.refuse()
    cut_off, other = Process(proxied_url, open_for=30), Process(redis_url, open_for=30)
    async with cut_off.link, cut_off.shared, other.link, other.shared:
        await until(lambda: other.shared._listening)
        await cut_off.fail()
        assert cut_off.breaker.state == "open"
        assert other.breaker.state == "closed"
        assert (await cut_off.shared.check()).status == "degraded"
        assert await cut_off.shared.claim("api", 1) is None
        proxy.heal()
        await until(lambda: other.breaker.state == "open")  # received afterwards
        await until(lambda: cut_off.shared._listening)


async def test_a_breaker_in_a_thread_shares_its_state_too(processes: list[Process]) -> None:
    def work() -> None:
        def broken() -> None:
            raise ConnectionError

        for _ in range(2):
            with pytest.raises(ConnectionError):
                processes[0].breaker.call(broken)

    thread = threading.Thread(target=work)
    thread.start()
    await asyncio.to_thread(thread.join)
    await until(lambda: all(each.breaker.state == "open" for each in processes), 1)


async def test_it_is_the_shared_state_of_a_breaker() -> None:
    from prodkit.policies.shared_state import SharedState

    shared: SharedState = SharedBreakers(RedisLink(None))
    breaker = CircuitBreaker("api", shared=shared)
    assert breaker.state == "closed"
    assert await shared.claim("api", 1) is None
