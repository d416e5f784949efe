"""The cost of the cache as ratios to the barest thing that does the same, with the peers beside it.

CPU time of this process; what Redis itself spends is not in it.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable
from typing import Any

from benchmarks.harness import Table, ratios, run
from prodkit.cache import Cache
from prodkit.redis import RedisLink
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
        found = await ratios({"GET": lambda: raw.get("x"), "ours": lambda: cache.get("k1")}, calls=200)
        table.add("lone get from Redis ÷ redis-py GET", found["ours"], ceiling=1.2)
        found = await ratios(
            {
                "gather": lambda: asyncio.gather(*(raw.get(f"x{number}") for number in range(50))),
                "ours": lambda: asyncio.gather(*(cache.get(f"k{number}") for number in range(50))),
                "get_many": lambda: cache.get_many([f"k{number}" for number in range(50)]),
            },
            calls=20,
        )
        table.add("50 concurrent gets ÷ gather of redis-py", found["ours"], ceiling=0.3)
        table.add("get_many of 50 ÷ gather of redis-py", found["get_many"])
    await raw.aclose()


async def main() -> Table:
    table = Table("cache", "cost of the cache over the barest thing that does the same")
    await _in_memory(table)
    if Redis.available():
        with Redis() as server:
            await _on_redis(table, server.url)
    return table


if __name__ == "__main__":
    run(main)
