"""The return of Redis with a long outage log: used at once, and nothing old is visible."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.stalls import Stopwatch

from prodkit.cache import MISSING, Cache
from prodkit.ratelimit import Limit, RateLimiter
from prodkit.redis import RedisLink
from prodkit.testing.proxy import Proxy

pytestmark = pytest.mark.integration


async def until(condition: Any, limit: float = 5.0) -> None:
    async with asyncio.timeout(limit):
        while not condition():
            await asyncio.sleep(0.005)


async def test_500_patterns_over_200_000_keys(proxy: Proxy, proxied_url: str, redis_url: str) -> None:
    async with (
        RedisLink(redis_url, timeout=30) as direct,
        RedisLink(proxied_url, timeout=10, connect_timeout=10) as lossy,
        Cache(lossy, namespace="t", max_staleness=0) as cache,
    ):
        there = Cache(direct, namespace="t", max_staleness=0)
        fill = "for i = 1, 200000 do redis.call('SET', 'foreign:' .. i, 'x') end"
        await direct.run(lambda client: client.eval(fill, 0), timeout=60)
        for number in range(100):
            await there.set(f"user:{number}:a", "old", ttl=600)
            await there.set(f"other:{number}", "kept", ttl=600)
        proxy.refuse()
        assert await cache.get("user:1:a") is MISSING
        for number in range(500):
            await cache.invalidate(f"user:{number}:*")
        proxy.heal()
        with Stopwatch() as since_healed, Stopwatch() as one_read:
            await until(lambda: lossy.up, 10)
            assert since_healed.seconds < 2
            slowest = 0.0
            visible = []
            while since_healed.seconds < 3:
                for number in range(100):
                    one_read.restart()
                    if await cache.get(f"user:{number}:a") is not MISSING:
                        visible.append(number)
                    slowest = max(slowest, one_read.seconds)
                    assert await there.get(f"user:{number}:a") is MISSING
                    assert await there.get(f"other:{number}") == "kept"
                    await asyncio.sleep(0)
        assert visible == []
        assert slowest < 0.25  # alone on the machine it is a few milliseconds
        await there.set("user:1:a", "new", ttl=600)
        assert await cache.get("user:1:a") == "new"
        await until(lambda: not cache._tiers.catch_up or not cache._tiers.catch_up.sweeping, 20)
        assert await there.get("user:1:a") == "new"
        assert await direct.execute("EXISTS", "t:p", "t:v:user:2:a") == 0


async def test_30_000_callers_of_an_outage(proxy: Proxy, proxied_url: str, redis_url: str) -> None:
    limit = Limit("3/min", name="three")
    async with (
        RedisLink(proxied_url, timeout=10, connect_timeout=10) as lossy,
        RedisLink(redis_url, timeout=10, connect_timeout=10) as direct,
    ):
        limiter, there = RateLimiter(lossy), RateLimiter(direct)
        await limiter.check((limit, "first"))
        proxy.refuse()
        for number in range(30_000):
            await limiter.check((limit, number), cost=2)
        proxy.heal()
        with Stopwatch() as watch:
            await until(lambda: lossy.up, 10)
            assert watch.seconds < 2
            watch.restart()
            decision = await limiter.check((limit, 29_999))
            assert (decision.allowed, decision.remaining, decision.source) == (True, 0, "redis")
            assert watch.seconds < 0.25
        await until(lambda: limiter._merging is None or not len(limiter._merging), 20)
        assert [(await there.check((limit, number), cost=0)).remaining for number in (0, 15_000, 29_998)] == [
            1
        ] * 3


async def test_an_outage_leaves_nothing_behind(proxy: Proxy, proxied_url: str) -> None:
    second = Limit("3/s", name="second")
    async with RedisLink(proxied_url, timeout=10, connect_timeout=10) as lossy:
        limiter = RateLimiter(lossy, max_keys=200_000)
        await limiter.check((second, "first"))
        proxy.refuse()
        for number in range(60_000):
            await limiter.check((second, number))
        await until(lambda: len(limiter._memory) == 0, 10)
        assert len(limiter._merging or ()) == 0


async def test_redis_emptied_between_two_checks(redis_url: str) -> None:
    ten = Limit("10/min", name="ten")
    async with RedisLink(redis_url, timeout=10, connect_timeout=10) as link:
        limiter = RateLimiter(link)
        allowed = [(await limiter.check((ten, "a"))).allowed for _ in range(6)]
        await link.execute("FLUSHALL")
        allowed += [(await limiter.check((ten, "a"))).allowed for _ in range(6)]
        assert sum(allowed) == 10
