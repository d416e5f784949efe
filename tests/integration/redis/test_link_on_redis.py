from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from prodkit.core.deadline import Deadline
from prodkit.core.runtime import Runtime
from prodkit.errors import DeadlineExceededError, PoolExhaustedError, RedisError
from prodkit.redis import RedisLink, RedisLost, RedisRecovered, Script
from prodkit.testing.proxy import Proxy
from prodkit.testing.servers import Redis, redis_binaries

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module", params=sorted(redis_binaries()))
def redis_server(request: pytest.FixtureRequest) -> Iterator[Redis]:
    """Each test of this file runs on every server that is installed."""
    with Redis(binary=redis_binaries()[request.param]) as server:
        yield server


async def ping(client: Any) -> bool:
    return bool(await client.ping())


async def until(condition: Any, limit: float = 5.0) -> None:
    async with asyncio.timeout(limit):
        while not condition():
            await asyncio.sleep(0.005)


async def test_runs_commands(redis_url: str) -> None:
    async with RedisLink(redis_url, timeout=10, connect_timeout=10) as link:
        await link.run(lambda client: client.set("a", b"1"))
        assert await link.run(lambda client: client.get("a")) == b"1"
        result = await link.check()
        assert result.status == "up"
        assert "latency_ms" in result.details


async def test_works_without_start(redis_url: str) -> None:
    link = RedisLink(redis_url, timeout=10, connect_timeout=10)
    try:
        assert await link.run(ping)
    finally:
        await link.aclose()
    with pytest.raises(RedisError, match="closed"):
        await link.run(ping)


async def test_300_calls_on_10_connections_all_get_their_turn(redis_url: str) -> None:
    async with RedisLink(redis_url, max_connections=10, timeout=5) as link:
        assert all(await asyncio.gather(*(link.run(ping) for _ in range(300))))


async def test_a_full_pool_is_no_outage(redis_url: str) -> None:
    async with RedisLink(redis_url, max_connections=1, queue_timeout=0.05) as link:
        blocker = asyncio.ensure_future(link.run(lambda client: client.blpop(["none"], timeout=1), timeout=5))
        await asyncio.sleep(0.05)
        with pytest.raises(PoolExhaustedError) as caught:
            await link.run(ping)
        assert caught.value.size == 1
        assert link.up
        with Deadline.after(0.01), pytest.raises(DeadlineExceededError):
            await link.run(ping)
        assert link.up
        await blocker
        assert await link.run(ping)


async def test_a_slow_call_is_no_outage_while_others_are_answered(redis_url: str) -> None:
    async with RedisLink(redis_url, timeout=0.1) as link:

        async def others() -> None:
            for _ in range(20):
                await link.run(ping)
                await asyncio.sleep(0.01)

        busy = asyncio.ensure_future(others())
        with pytest.raises(RedisError, match=r"no answer within 0\.1 s"):
            await link.run(lambda client: client.blpop(["none"], timeout=1))
        assert link.up
        await busy


async def test_a_wrong_command_is_the_callers_bug(redis_url: str) -> None:
    from redis.exceptions import ResponseError

    async with RedisLink(redis_url, timeout=10, connect_timeout=10) as link:
        await link.run(lambda client: client.set("a", "x"))
        with pytest.raises(ResponseError):
            await link.run(lambda client: client.lpush("a", "y"))
        assert link.up


async def test_a_cancelled_call_spoils_no_connection(redis_url: str) -> None:
    async with RedisLink(redis_url, max_connections=2) as link:
        for _ in range(5):
            task = asyncio.ensure_future(link.run(lambda client: client.blpop(["none"], timeout=0)))
            await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await link.run(lambda client: client.set("k", "v"))
            assert await link.run(lambda client: client.get("k")) == b"v"
        assert link.up


async def test_black_hole_costs_one_timeout_then_microseconds(
    proxy: Proxy, proxied_url: str, running_time: Callable[[], float]
) -> None:
    async with RedisLink(proxied_url, timeout=0.2) as link:
        await link.run(ping)
        proxy.stall()
        started = running_time()
        results = await asyncio.gather(*(link.run(ping) for _ in range(50)), return_exceptions=True)
        assert running_time() - started < 2.0  # one after the other they would take 10 s
        assert all(isinstance(result, RedisError) for result in results)
        assert not link.up
        started = running_time()
        for _ in range(100):
            with pytest.raises(RedisError) as caught:
                await link.run(ping)
        assert (running_time() - started) / 100 < 0.001
        assert caught.value.retry_after is not None
        proxy.heal()
        await until(lambda: link.up, 3.0)
        assert await link.run(ping)


async def test_a_refused_port_raises_nothing_at_the_start(
    proxy: Proxy, proxied_url: str, runtime: Runtime
) -> None:
    seen: list[Any] = []
    runtime.events.subscribe(seen.append)
    proxy.refuse()
    link = RedisLink(proxied_url, runtime=runtime)
    order: list[str] = []
    link.on_up(lambda: order.append(f"up callback, link.up={link.up}"))
    async with link:
        assert not link.up
        assert (await link.check()).status == "degraded"
        proxy.heal()
        await until(lambda: link.up)
        assert order == ["up callback, link.up=False"]
        assert await link.run(ping)
    assert [type(event) for event in seen] == [RedisLost, RedisRecovered]


async def test_callbacks_catch_up_before_anybody_else(proxy: Proxy, proxied_url: str) -> None:
    async with RedisLink(proxied_url, timeout=10, connect_timeout=10) as link:
        downs: list[bool] = []
        attempts: list[int] = []

        async def catch_up() -> None:
            attempts.append(1)
            await link.run(lambda client: client.set("replayed", "1"))
            if len(attempts) == 1:
                raise RedisError("not yet")

        link.on_up(catch_up)
        link.on_down(lambda: downs.append(link.up))
        proxy.refuse()
        with pytest.raises(RedisError):
            await link.run(ping)
        assert downs == [False]
        proxy.heal()
        await until(lambda: link.up)
        assert len(attempts) == 2
        assert await link.run(lambda client: client.get("replayed")) == b"1"


async def test_a_broken_callback_does_not_keep_redis_away(proxy: Proxy, proxied_url: str) -> None:
    complaints: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: complaints.append(context["exception"])
    )
    async with RedisLink(proxied_url, timeout=10, connect_timeout=10) as link:
        link.on_up(lambda: 1 / 0)
        proxy.refuse()
        with pytest.raises(RedisError):
            await link.run(ping)
        proxy.heal()
        await until(lambda: link.up)
    assert [type(each) for each in complaints] == [ZeroDivisionError]


async def test_a_hasty_caller_does_not_open_anything_but_makes_the_link_look(
    proxy: Proxy, proxied_url: str
) -> None:
    async with RedisLink(proxied_url, connect_timeout=0.1) as link:
        with Deadline.after(0.02), pytest.raises(DeadlineExceededError):
            await link.run(lambda client: client.blpop(["none"], timeout=1))
        await asyncio.sleep(0.05)
        assert link.up
        proxy.stall()
        with Deadline.after(0.02), pytest.raises(DeadlineExceededError):
            await link.run(ping)
        assert link.up
        await until(lambda: not link.up, 1.0)


async def test_idle_connections_cut_by_the_server_are_replaced_silently(
    proxy: Proxy, proxied_url: str, redis_url: str
) -> None:
    async with RedisLink(proxied_url, timeout=10, connect_timeout=10) as link:
        await asyncio.gather(*(link.run(ping) for _ in range(5)))
        proxy.drop()
        await asyncio.sleep(0.02)
        assert await link.run(ping)
        assert link.up


async def test_scripts_are_sent_once_and_survive_a_flush(redis_url: str) -> None:
    add = Script("return redis.call('INCRBY', KEYS[1], ARGV[1])")
    async with RedisLink(redis_url, timeout=10, connect_timeout=10) as link:
        assert await add(link, keys=["n"], args=[2]) == 2
        await link.run(lambda client: client.script_flush())
        assert await add(link, keys=["n"], args=[3]) == 5

        async def calls(client: Any) -> Any:
            return (await client.info("commandstats")).get("cmdstat_eval", {}).get("calls", 0)

        before = await link.run(calls)
        assert await add(link, keys=["n"], args=[1]) == 6
        assert await link.run(calls) == before
