"""Replies that only a real server gives, on every server that is installed: out of memory, read-only, busy."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from prodkit.cache import MISSING, Cache
from prodkit.errors import RedisError
from prodkit.ratelimit import Limit, RateLimiter
from prodkit.redis import RedisLink
from prodkit.testing.servers import Redis, redis_binaries

pytestmark = pytest.mark.integration

TEN = Limit("10/min", name="ten")
FAULTS = {
    "OOM": ("CONFIG", "SET", "maxmemory", "1"),
    "NOREPLICAS": ("CONFIG", "SET", "min-replicas-to-write", "3"),
    "READONLY": ("REPLICAOF", "127.0.0.1", "1"),
    "MISCONF": ("CONFIG", "SET", "save", "3600 1"),
}


@pytest.fixture(scope="module", params=sorted(redis_binaries()))
def server(request: pytest.FixtureRequest) -> Iterator[Redis]:
    with Redis(binary=redis_binaries()[request.param]) as server:
        yield server


async def until(condition: Any, limit: float = 5.0) -> None:
    async with asyncio.timeout(limit):
        while not condition():
            await asyncio.sleep(0.005)


async def command(server: Redis, *words: Any) -> Any:
    import redis.asyncio

    client = redis.asyncio.from_url(server.url)
    try:
        return await client.execute_command(*words)
    finally:
        await client.aclose()


async def inflict(server: Redis, fault: str) -> None:
    await command(server, *FAULTS[fault])
    if fault == "MISCONF":  # a snapshot that cannot be put in its place: a directory stands there
        (found,) = (await command(server, "CONFIG", "GET", "dir")).values()
        (Path(os.fsdecode(found)) / "dump.rdb").mkdir(exist_ok=True)
        await command(server, "BGSAVE")
        async with asyncio.timeout(10):
            while (await command(server, "INFO", "persistence"))["rdb_last_bgsave_status"] != "err":
                await asyncio.sleep(0.01)


async def heal(server: Redis) -> None:
    await command(server, "CONFIG", "SET", "save", "")
    await command(server, "CONFIG", "SET", "maxmemory", "0")
    await command(server, "CONFIG", "SET", "min-replicas-to-write", "0")
    await command(server, "REPLICAOF", "NO", "ONE")


@pytest.mark.parametrize("fault", sorted(FAULTS))
async def test_no_raw_error_reaches_a_caller(server: Redis, fault: str) -> None:
    server.flush()
    async with (
        RedisLink(server.url, timeout=10, connect_timeout=10) as link,
        Cache(link, namespace="t", max_staleness=0) as cache,
    ):
        limiter = RateLimiter(link)
        await cache.set("deleted", "old", ttl=60)
        await cache.set("tagged", "old", ttl=60, tags=["x"])
        await limiter.check((TEN, "a"))
        try:
            await inflict(server, fault)
            assert await cache.get_or_set("loaded", lambda: 1, ttl=60) == 1
            await cache.set("set", 2, ttl=60)
            assert await cache.get("set") in (2, MISSING)  # a write that Redis refused may be a miss
            await cache.delete("deleted")
            await cache.invalidate("p:*")
            await cache.invalidate_tags("x")
            await cache.set_many({"m": 1, "n": 2}, ttl=60)
            await cache.get_many(["m", "n"])
            assert await cache.get_or_set("leased", lambda: 3, ttl=60, scope="cluster") == 3
            assert await cache.counter("views").increment() == 1
            assert [(await limiter.check((TEN, "a"))).allowed for _ in range(3)] == [True] * 3
            with pytest.raises(RedisError):
                await link.execute("SET", "x", "y")
        finally:
            await heal(server)
        await until(lambda: link.up)
        assert await cache.get("deleted") is MISSING
        assert await cache.get("tagged") is MISSING
        async with RedisLink(server.url, timeout=10, connect_timeout=10) as other:
            there = Cache(other, namespace="t")
            assert await there.get("deleted") is MISSING
            assert await there.get("tagged") is MISSING
        await until(lambda: not limiter._merging or not len(limiter._merging))
        assert (await limiter.check((TEN, "a"))).remaining == 5


async def test_a_busy_server_is_an_outage(server: Redis) -> None:
    server.flush()
    await command(server, "CONFIG", "SET", "lua-time-limit", "50")
    async with (
        RedisLink(server.url, timeout=10, connect_timeout=10) as link,
        Cache(link, namespace="t", max_staleness=0) as cache,
    ):
        await cache.set("k", 1, ttl=60)
        import redis.asyncio

        client, killer = redis.asyncio.from_url(server.url), redis.asyncio.from_url(server.url)
        await killer.ping()  # its connection is greeted before the server is busy
        running = asyncio.ensure_future(client.eval("while true do end", 0))  # type: ignore[arg-type]
        await asyncio.sleep(0.1)
        try:
            assert await cache.get("k") == 1
            assert not link.up
        finally:
            await killer.script_kill()
            await killer.aclose()
            await asyncio.gather(running, return_exceptions=True)
            await client.aclose()
        await until(lambda: link.up)
        assert await cache.get("k") == 1


async def test_keys_of_two_slots_are_the_callers_mistake() -> None:
    from redis.exceptions import ResponseError

    from prodkit.redis.errors import classify

    assert classify(ResponseError("CROSSSLOT Keys in request don't hash to the same slot")) == "bug"
