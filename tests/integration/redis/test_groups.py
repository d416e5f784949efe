"""A cluster of 3 + 3 and a Sentinel group, with their primary killed under load."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from prodkit.cache import MISSING, Cache
from prodkit.ratelimit import Limit, RateLimiter
from prodkit.redis import RedisLink, Script, SharedBreakers
from prodkit.testing.servers import RedisCluster, RedisSentinel, redis_binaries

pytestmark = pytest.mark.integration

BINARIES = sorted(redis_binaries())


@pytest.fixture(scope="module", params=BINARIES)
def cluster(request: pytest.FixtureRequest) -> Iterator[RedisCluster]:
    with RedisCluster(binary=redis_binaries()[request.param]) as cluster:
        yield cluster


async def until(condition: Any, limit: float = 15.0) -> None:
    async with asyncio.timeout(limit):
        while not condition():
            await asyncio.sleep(0.01)


async def test_commands_find_their_node(cluster: RedisCluster) -> None:
    async with RedisLink(cluster.url, timeout=10, connect_timeout=10) as link:
        assert link.up
        for number in range(100):
            await link.execute("SET", f"k{number}", number, key=f"k{number}")
        found = [await link.execute("GET", f"k{number}", key=f"k{number}") for number in range(100)]
        assert found == [str(number).encode() for number in range(100)]
        add = Script("return redis.call('INCRBY', KEYS[1], ARGV[1])")
        assert [await add(link, keys=[f"n{number}"], args=[2]) for number in range(20)] == [2] * 20
        assert await link.run(lambda client: client.get("k7")) == b"7"
        async with SharedBreakers(link) as shared:
            assert await shared.claim("api", 5) is None


async def test_the_cache_means_the_same(cluster: RedisCluster) -> None:
    async with (
        RedisLink(cluster.url, timeout=10, connect_timeout=10) as link,
        RedisLink(cluster.url, timeout=10, connect_timeout=10) as other,
    ):
        here, there = (Cache(each, namespace="t", max_staleness=0) for each in (link, other))
        for number in range(60):
            await here.set(f"k:{number}", number, ttl=60, tags=[f"t:{number % 2}"])
        assert await there.get_many([f"k:{number}" for number in range(60)]) == {
            f"k:{n}": n for n in range(60)
        }
        assert await asyncio.gather(*(there.get(f"k:{number}") for number in range(60))) == list(range(60))
        await here.invalidate_tags("t:0")
        assert len(await there.get_many([f"k:{number}" for number in range(60)])) == 30
        assert await here.invalidate("k:1?") == 10
        assert await there.get("k:11") is MISSING
        assert await here.delete("k:1")
        assert await there.get("k:1") is MISSING
        assert await there.get_or_set("l", lambda: "loaded", ttl=60, scope="cluster") == "loaded"
        await here.clear()
        assert await there.get_many([f"k:{number}" for number in range(60)]) == {}
        async with here.lock("x"):
            assert await there.counter("c").increment() >= 1


async def test_changes_elsewhere_are_heard_from_every_primary(cluster: RedisCluster) -> None:
    async with (
        RedisLink(cluster.url, timeout=10, connect_timeout=10) as link,
        RedisLink(cluster.url, timeout=10, connect_timeout=10) as other,
    ):
        there = Cache(other, namespace="heard", max_staleness=0, coherence=False)
        async with Cache(link, namespace="heard", max_staleness=60) as here:
            await until(lambda: here._tiers.coherent)
            for number in range(60):
                await there.set(f"k:{number}", number, ttl=60, tags=[f"t:{number % 2}"])
            assert [await here.get(f"k:{number}") for number in range(60)] == list(range(60))
            hits = here.stats.memory_hits
            assert [await here.get(f"k:{number}") for number in range(60)] == list(range(60))
            assert here.stats.memory_hits == hits + 60  # no server was asked
            for number in range(0, 60, 3):
                await there.set(f"k:{number}", "new", ttl=60, tags=[f"t:{number % 2}"])
            await asyncio.sleep(0.2)
            expected = [number if number % 3 else "new" for number in range(60)]
            assert [await here.get(f"k:{number}") for number in range(60)] == expected
            await there.invalidate_tags("t:1")
            await there.delete("k:2")
            await asyncio.sleep(0.2)
            found = await here.get_many(f"k:{number}" for number in range(60))
            assert set(found) == {f"k:{number}" for number in range(0, 60, 2) if number != 2}
            assert (await here.check()).details["coherent"] is True


async def test_another_primary_is_heard_after_a_failover() -> None:
    with RedisCluster(node_timeout=0.5) as cluster:
        async with (
            RedisLink(cluster.url, timeout=10, connect_timeout=10) as link,
            RedisLink(cluster.url, timeout=10, connect_timeout=10) as other,
        ):
            there = Cache(other, namespace="t", max_staleness=0, coherence=False)
            async with Cache(link, namespace="t", max_staleness=60) as here:
                await until(lambda: here._tiers.coherent)
                await there.set("k", "old", ttl=600)
                assert await here.get("k") == "old"
                await asyncio.to_thread(cluster.primary_of(here._tiers.redis._part("k").generation).kill)  # type: ignore[union-attr]
                await until(lambda: not here._tiers.coherent)
                while True:  # until the replica has taken over
                    await there.set("k", "new", ttl=600)
                    if (
                        other.up
                        and there._tiers.redis is not None
                        and (await there._tiers.redis.read("k"))[0]
                    ):
                        break
                    await asyncio.sleep(0.05)
                await until(lambda: here._tiers.coherent)
                assert await here.get("k") == "new"
                await there.set("k", "newer", ttl=600)
                await asyncio.sleep(0.2)
                assert await here.get("k") == "newer"


async def test_a_primary_dies_under_load() -> None:
    """Raw errors 0; stale reads 0; admitted no more than the limit by one process."""
    limit = Limit("50/min", name="fifty")
    with RedisCluster(node_timeout=0.5) as cluster:
        async with RedisLink(cluster.url, timeout=10, connect_timeout=10) as link:
            cache, limiter = Cache(link, namespace="t", max_staleness=0), RateLimiter(link)
            for number in range(200):
                await cache.set(f"k:{number}", "old", ttl=600, tags=["all"] if number % 3 == 0 else [])
            admitted = 0
            stop = asyncio.Event()
            failures: list[BaseException] = []

            async def ask() -> None:
                nonlocal admitted
                while not stop.is_set():
                    try:
                        decision = await limiter.check((limit, "caller"))
                        admitted += decision.allowed
                        await cache.get(f"k:{admitted % 200}")
                    except BaseException as error:
                        failures.append(error)
                        raise
                    await asyncio.sleep(0.05)

            load = [asyncio.ensure_future(ask()) for _ in range(4)]
            await asyncio.sleep(0.3)
            deleted = [f"k:{number}" for number in range(0, 200, 7)]
            for key in deleted[:15]:
                await cache.delete(key)
            await asyncio.to_thread(cluster.primary_of("{rl}").kill)
            for key in deleted[15:]:
                await cache.delete(key)
            await cache.invalidate_tags("all")
            await until(lambda: link.losses > 0)
            await until(lambda: link.up)
            await asyncio.sleep(1.0)
            stop.set()
            await asyncio.gather(*load)
            assert failures == []
            assert admitted <= 50
            async with RedisLink(cluster.url, timeout=10, connect_timeout=10) as other:
                there = Cache(other, namespace="t", max_staleness=0)
                gone = [*deleted, *(f"k:{number}" for number in range(0, 200, 3))]
                assert [key for key in gone if await there.get(key) is not MISSING] == []
                assert [key for key in gone if await cache.get(key) is not MISSING] == []
            final = [await limiter.check((limit, "caller")) for _ in range(60)]
            assert admitted + sum(each.allowed for each in final) == 50


@pytest.mark.parametrize("binary", BINARIES)
async def test_sentinel_after_the_death_of_the_primary(binary: str) -> None:
    ten = Limit("10/min", name="ten")
    with RedisSentinel(down_after=0.5, binary=redis_binaries()[binary]) as group:
        async with RedisLink(group.url, timeout=10, connect_timeout=10) as link:
            assert link.up
            cache, limiter = Cache(link, namespace="t", max_staleness=0), RateLimiter(link)
            await cache.set("kept", 1, ttl=600)
            await cache.set("deleted", 1, ttl=600)
            for _ in range(4):
                await limiter.check((ten, "a"))
            await cache.delete("deleted")
            await asyncio.to_thread(group.primary.kill)
            for _ in range(3):
                assert (await limiter.check((ten, "a"))).allowed
            assert await cache.get("kept") == 1
            await until(lambda: link.up, 20)
            assert await cache.get("kept") in (1, MISSING)  # written a moment before: replayed as a delete
            assert await cache.get("deleted") is MISSING
            decision = await limiter.check((ten, "a"))
            assert (decision.source, decision.remaining) == ("redis", 2)
