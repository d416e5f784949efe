"""Cost of a call from synchronous code, over a bare ``asyncio.run_coroutine_threadsafe`` to a loop in a thread."""

import asyncio
import threading
import time

from benchmarks.harness import Table, ratios, run
from prodkit import cache, ratelimit, sync
from prodkit.redis import RedisLink


async def nothing() -> int:
    return 1


async def main() -> Table:
    table = Table("sync", "synchronous calls over a bare run_coroutine_threadsafe")
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    redis = RedisLink(None)
    inner, limiter = cache.Cache(redis, namespace="bench"), ratelimit.RateLimiter(redis)
    limit = ratelimit.Limit("1000000/hour", name="bench")

    def bare() -> int:
        return asyncio.run_coroutine_threadsafe(nothing(), loop).result()

    def bare_get() -> object:
        return asyncio.run_coroutine_threadsafe(inner.get("k", None), loop).result()

    def bare_check() -> object:
        return asyncio.run_coroutine_threadsafe(limiter.check((limit, "u")), loop).result()

    face, guard = sync.Cache(inner), sync.RateLimiter(limiter)
    with sync.running(redis):
        found = await ratios(
            {"bare": bare, "ours": lambda: sync.call(nothing)}, calls=500, clock=time.perf_counter
        )
        table.add("sync.call", found["ours"], ceiling=1.3)
        found = await ratios(
            {"bare": bare_get, "ours": lambda: face.get("k", None)}, calls=500, clock=time.perf_counter
        )
        table.add("sync.Cache.get", found["ours"], ceiling=1.3)
        found = await ratios(
            {"bare": bare_check, "ours": lambda: guard.check((limit, "u"))},
            calls=500,
            clock=time.perf_counter,
        )
        table.add("sync.RateLimiter.check", found["ours"], ceiling=1.3)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()
    return table


if __name__ == "__main__":
    run(main)
