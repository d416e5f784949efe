"""Cost of the cache and the limiter, as ratios to the barest thing that does the same.

    PYTHONPATH=src python benchmarks/cache_ratelimit.py

CPU time of this process, medians of interleaved rounds, so that a busy machine changes the figures little.
What Redis itself spends is not in them.
"""

from __future__ import annotations

import asyncio
import functools
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Any

from prodkit.cache import Cache
from prodkit.ratelimit import Limit, RateLimiter
from prodkit.redis import RedisLink
from prodkit.testing.servers import Redis

Work = Callable[[], Awaitable[Any]]


async def cost(work: Work, times: int) -> float:
    """Microseconds of one call."""
    started = time.process_time()
    for _ in range(times):
        await work()
    return (time.process_time() - started) / times * 1e6


async def compare(title: str, base: Work, others: dict[str, Work], times: int, rounds: int = 15) -> None:
    bases: list[float] = []
    costs: dict[str, list[float]] = {name: [] for name in others}
    for _ in range(rounds):
        bases.append(await cost(base, times))
        for name, work in others.items():
            costs[name].append(await cost(work, times))
    print(f"{title}: {statistics.median(bases):.2f} us")
    for name, each in costs.items():
        ratio = statistics.median(value / bare for value, bare in zip(each, bases, strict=True))
        print(f"    {name:<38} {statistics.median(each):8.2f} us   x{ratio:.2f}")


def bare_decorator(fn: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    store: dict[Any, tuple[Any, float]] = {}

    @functools.wraps(fn)
    async def wrapped(*args: Any, **kwargs: Any) -> Any:
        key = (args, tuple(sorted(kwargs.items()))) if kwargs else args
        found = store.get(key)
        if found is not None and time.monotonic() < found[1]:
            return found[0]
        value = await fn(*args, **kwargs)
        store[key] = (value, time.monotonic() + 1000)
        return value

    return wrapped


async def in_memory() -> None:
    table = {"k": (1, time.monotonic() + 1000)}

    async def bare_get() -> Any:
        found = table.get("k")
        return found[0] if found is not None and time.monotonic() < found[1] else None

    cache = Cache(namespace="bench")
    await cache.set("k", 1, ttl=1000)
    await cache.set("document", {"a": [1, 2, 3]}, ttl=1000)
    await compare(
        "a dict with expiry",
        bare_get,
        {
            "C2 cache.get": lambda: cache.get("k"),
            "cache.get of a small document": lambda: cache.get("document"),
        },
        20_000,
    )

    async def one(a: int, b: int = 1) -> int:
        return a + b

    bare, cached = bare_decorator(one), cache.cached(ttl=1000)(one)
    await compare("a decorator over a dict", lambda: bare(7), {"C1 cached": lambda: cached(7)}, 20_000)

    counters: dict[str, list[float]] = {}

    async def bare_count() -> bool:
        now, found = time.monotonic(), counters.get("k")
        if found is None or now >= found[1]:
            counters["k"] = [1, now + 60]
            return True
        found[0] += 1
        return found[0] <= 10

    few, many = RateLimiter(), RateLimiter(max_keys=200_000)
    limit, long = Limit("10/s", name="bench"), Limit("10/hour", name="long")
    for number in range(100_000):
        await many.check((long, number))
    await compare(
        "a fixed window in a dict",
        bare_count,
        {
            "R4 check": lambda: few.check((limit, "k")),
            "R4 check, 100 000 keys": lambda: many.check((limit, "k")),
        },
        5_000,
    )


async def on_redis(url: str) -> None:
    import redis.asyncio

    raw = redis.asyncio.from_url(url)
    await raw.set("x", b"1")
    async with RedisLink(url) as link:
        cache = Cache(link, namespace="bench", max_staleness=0)
        await cache.set("k", 1, ttl=1000)
        await compare(
            "redis-py GET",
            lambda: raw.get("x"),
            {
                "link.run of a GET": lambda: link.run(lambda client: client.get("x")),
                "C3 cache.get": lambda: cache.get("k"),
            },
            500,
        )
        count = "local n = redis.call('INCR', KEYS[1])"
        count += " if n == 1 then redis.call('PEXPIRE', KEYS[1], 60000) end return n"
        digest = await raw.script_load(count)
        limiter = RateLimiter(link)
        limits = [Limit(f"10/{window}s", name=f"b{window}") for window in (1, 2, 3)]
        await compare(
            "EVALSHA of INCR and PEXPIRE",
            lambda: raw.evalsha(digest, 1, "count"),
            {
                "R3 check of one limit": lambda: limiter.check((limits[0], "k")),
                "R3 check of three limits": lambda: limiter.check(*((limit, "l") for limit in limits)),
            },
            500,
        )
    await raw.aclose()


if __name__ == "__main__":
    asyncio.run(in_memory())
    if Redis.available():
        with Redis() as server:
            asyncio.run(on_redis(server.url))
