"""The cost of the cache as ratios to the barest thing that does the same, with the peers beside it.

CPU time of this process; what Redis itself spends is not in it.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from benchmarks._fleet import in_processes, slowest, until
from benchmarks.harness import Table, ratios, run
from prodkit.cache import Cache
from prodkit.errors import RedisError
from prodkit.redis import RedisLink
from prodkit.testing.proxy import Proxy
from prodkit.testing.servers import Redis

DOCUMENT = {
    "items": [{"id": n, "name": f"item {n}", "tags": ["a", "b"], "price": n / 7} for n in range(1200)]
}


def _bare_decorator(fn: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
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


async def _peers() -> tuple[Any, Any]:
    """Return a cashews cache and an aiocache cache in memory, where they are installed."""
    cashews: Any = None
    aiocache: Any = None
    try:
        from cashews import Cache as Cashews

        cashews = Cashews()
        cashews.setup("mem://")
    except ImportError:
        pass
    try:
        import aiocache as module

        aiocache = module.Cache(module.Cache.MEMORY)
    except ImportError:
        pass
    return cashews, aiocache


async def _in_memory(table: Table) -> None:
    values = {"k": (1, time.monotonic() + 1000)}

    async def bare() -> Any:
        found = values.get("k")
        return found[0] if found is not None and time.monotonic() < found[1] else None

    cache, shared = Cache(namespace="bench"), Cache(namespace="shared", copy="never")
    await cache.set("k", 1, ttl=1000)
    await shared.set("document", DOCUMENT, ttl=1000)
    cashews, aiocache = await _peers()
    works: dict[str, Any] = {
        "bare": bare,
        "ours": lambda: cache.get("k"),
        "document": lambda: shared.get("document"),
    }
    if cashews is not None:
        await cashews.set("k", 1, expire=1000)
        await cashews.set("document", DOCUMENT, expire=1000)
        works["cashews"] = lambda: cashews.get("k")
        works["cashews document"] = lambda: cashews.get("document")
    if aiocache is not None:
        await aiocache.set("k", 1, ttl=1000)
        works["aiocache"] = lambda: aiocache.get("k")
    found = await ratios(works, calls=5000)
    peers = {name: found[name] for name in ("cashews", "aiocache") if name in found}
    table.add("L1 get ÷ bare awaited dict", found["ours"], ceiling=3.5, peers=peers)
    if "cashews document" in found:
        ratio = found["document"] / found["cashews document"]
        table.add("hit of a 94 KB document, copy='never' ÷ cashews", ratio, ceiling=2.0)

    async def one(a: int, b: int = 1) -> int:
        return a + b

    plain, cached = _bare_decorator(one), cache.cached(ttl=1000)(one)
    found = await ratios({"bare": lambda: plain(7), "ours": lambda: cached(7)}, calls=5000)
    table.add("decorated hit ÷ bare decorator", found["ours"], ceiling=6.0)


async def _on_redis(table: Table, url: str) -> None:
    import redis.asyncio

    raw = redis.asyncio.from_url(url)
    async with RedisLink(url, timeout=2) as link:
        cache = Cache(link, namespace="bench", max_staleness=0, coherence=False)
        await raw.set("x", b"1")
        for number in range(50):
            await cache.set(f"k{number}", 1, ttl=1000)
            await raw.set(f"x{number}", b"1")
        peers = await _peers_on_redis(url)
        for each in peers.values():
            for number in range(50):
                await each.set(f"k{number}", 1)
        works: dict[str, Any] = {"GET": lambda: raw.get("x"), "ours": lambda: cache.get("k1")}
        works |= {name: partial(each.get, "k1") for name, each in peers.items()}
        found = await ratios(works, calls=200)
        others = {name: found[name] for name in peers}
        table.add("lone get from Redis ÷ redis-py GET", found["ours"], ceiling=1.2, peers=others)
        works = {
            "gather": lambda: asyncio.gather(*(raw.get(f"x{number}") for number in range(50))),
            "ours": lambda: asyncio.gather(*(cache.get(f"k{number}") for number in range(50))),
            "get_many": lambda: cache.get_many([f"k{number}" for number in range(50)]),
        }
        works |= {name: partial(_fifty, each) for name, each in peers.items()}
        found = await ratios(works, calls=20)
        others = {name: found[name] for name in peers}
        table.add("50 concurrent gets ÷ gather of redis-py", found["ours"], ceiling=0.3, peers=others)
        table.add("get_many of 50 ÷ gather of redis-py", found["get_many"])
        for each in peers.values():
            await each.close()
    await raw.aclose()


async def _fifty(cache: Any) -> None:
    await asyncio.gather(*(cache.get(f"k{number}") for number in range(50)))


async def _peers_on_redis(url: str) -> dict[str, Any]:
    """Return the peers on the same Redis, where they are installed."""
    peers: dict[str, Any] = {}
    try:
        from cashews import Cache as Cashews

        peers["cashews"] = Cashews()
        peers["cashews"].setup(url, client_side=False)
    except ImportError:
        pass
    return peers


FLEET = """
import asyncio, json, sys
from prodkit.cache import Cache
from prodkit.redis import RedisLink

async def main():
    async with RedisLink(sys.argv[1], timeout=2) as link:
        cache = Cache(link, namespace="fleet")
        loads = 0
        async def load():
            nonlocal loads
            loads += 1
            await asyncio.sleep(0.2)
            return "value"
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        asked = [cache.get_or_set("k", load, ttl=60, scope="cluster") for _ in range(50)]
        assert set(await asyncio.gather(*asked)) == {"value"}
        print(json.dumps(loads))

asyncio.run(main())
"""


async def _fleet(table: Table, url: str) -> None:
    loads = await asyncio.to_thread(in_processes, 4, FLEET, url)
    table.add("loads of 4 processes x 50 misses of one key", sum(loads), ceiling=1, unit="loads")


async def _outage(table: Table, server: Redis) -> None:
    """Milliseconds of a request through an outage, and after one with 500 patterns over 200,000 keys."""
    with Proxy(server.url) as proxy:
        async with (
            RedisLink(server.url, timeout=30) as direct,
            RedisLink(proxy.url_for(server.url), timeout=1) as lossy,
            Cache(lossy, namespace="outage", max_staleness=0) as cache,
        ):
            fill = "for i = 1, 200000 do redis.call('SET', 'foreign:' .. i, 'x') end"
            await direct.run(lambda client: client.eval(fill, 0), timeout=60)
            for number in range(200):
                await cache.set(f"user:{number}:a", number, ttl=600)
            numbers = itertools.cycle(range(200))

            def read() -> Awaitable[Any]:
                return cache.get(f"user:{next(numbers)}:a")

            calm = await slowest(read, 1.0)
            proxy.refuse()
            with contextlib.suppress(RedisError):
                await lossy.execute("PING")
            down = await slowest(read, 1.0)
            table.add("p99 of a read while Redis is away", down[-len(down) // 100], ceiling=0.05, unit="ms")
            for number in range(500):
                await cache.invalidate(f"user:{number}:*")
            proxy.heal()
            table.add("Redis is used again after", await until(lambda: lossy.up), ceiling=2.0, unit="s")
            back = await slowest(read, 2.0)
            table.add("slowest read after it, more than before", back[-1] - calm[-1], ceiling=50.0, unit="ms")
            catch_up = cache._tiers.catch_up
            assert catch_up is not None
            await until(lambda: not catch_up.sweeping, 60)


async def main() -> Table:
    table = Table(
        "cache",
        "cost of the cache over the barest thing that does the same",
        packages=("redis", "cashews", "aiocache"),
    )
    await _in_memory(table)
    if Redis.available():
        with Redis() as server:
            await _on_redis(table, server.url)
            await _fleet(table, server.url)
            await _outage(table, server)
    return table


if __name__ == "__main__":
    run(main)
