"""The cost of the limiter as ratios to the barest thing that does the same, with the peers beside it.

CPU time of this process; what Redis itself spends is not in it.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import Any

from benchmarks._fleet import in_processes, slowest, until
from benchmarks.harness import Table, ratios, run
from prodkit.ratelimit import Limit, RateLimiter
from prodkit.redis import RedisLink
from prodkit.testing.proxy import Proxy
from prodkit.testing.servers import Redis

COUNT = """local n = redis.call('INCR', KEYS[1])
if n == 1 then redis.call('PEXPIRE', KEYS[1], 60000) end
return n"""


def _limits_peer() -> dict[str, Any]:
    """Return checks of the library limits in memory, where it is installed."""
    try:
        from limits import parse
        from limits.aio.storage import MemoryStorage
        from limits.aio.strategies import FixedWindowRateLimiter, MovingWindowRateLimiter
    except ImportError:
        return {}
    item = parse("10/second")
    fixed, moving = FixedWindowRateLimiter(MemoryStorage()), MovingWindowRateLimiter(MemoryStorage())
    return {"limits fixed": lambda: fixed.hit(item, "f"), "limits moving": lambda: moving.hit(item, "m")}


def _limits_on_redis(url: str) -> dict[str, Any]:
    """Return checks of the library limits on the same Redis, where it is installed."""
    try:
        from limits import parse
        from limits.aio.storage import RedisStorage
        from limits.aio.strategies import FixedWindowRateLimiter, MovingWindowRateLimiter

        storage = RedisStorage("async+" + url, implementation="redispy")
    except Exception:
        return {}
    item = parse("10/second")
    fixed, moving = FixedWindowRateLimiter(storage), MovingWindowRateLimiter(storage)
    return {"limits fixed": lambda: fixed.hit(item, "f"), "limits moving": lambda: moving.hit(item, "m")}


async def _in_memory(table: Table) -> None:
    counters: dict[str, list[float]] = {}

    async def bare() -> bool:
        now, found = time.monotonic(), counters.get("k")
        if found is None or now >= found[1]:
            counters["k"] = [1, now + 60]
            return True
        found[0] += 1
        return found[0] <= 10

    few, many = RateLimiter(), RateLimiter(max_keys=200_000)
    limit, long = Limit("200/s", name="bench"), Limit("10/hour", name="long")
    for number in range(100_000):
        await many.check((long, number))
    works = {
        "bare": lambda: bare(),  # through a lambda like the others, which is a fifth of its cost
        "ours": lambda: few.check((limit, "k")),
        "many": lambda: many.check((limit, "k")),
        **_limits_peer(),
    }
    found = await ratios(works, calls=3000)
    peers = {name: found[name] for name in found if name.startswith("limits")}
    table.add("check in memory ÷ dict", found["ours"], ceiling=6.0, peers=peers)
    table.add("check with 100 000 live callers ÷ with one", found["many"] / found["ours"], ceiling=2.0)


async def _on_redis(table: Table, url: str) -> None:
    import redis.asyncio

    raw = redis.asyncio.from_url(url)
    digest = await raw.script_load(COUNT)
    async with RedisLink(url, timeout=2) as link:
        limiter = RateLimiter(link, denial_cache=0)
        limits = [Limit(f"10/{window}s", name=f"b{window}") for window in (1, 2, 3)]
        works: dict[str, Any] = {
            "EVALSHA": lambda: raw.evalsha(digest, 1, "count"),
            "one": lambda: limiter.check((limits[0], "k")),
            "three": lambda: limiter.check(*((limit, "l") for limit in limits)),
            **_limits_on_redis(url),
        }
        found = await ratios(works, calls=200)
        peers = {name: found[name] for name in found if name.startswith("limits")}
        table.add("check of one limit ÷ EVALSHA", found["one"], ceiling=1.25, peers=peers)
        table.add("check of three limits with header data ÷ EVALSHA", found["three"], ceiling=1.6)
        found = await ratios(
            {
                "gather": lambda: asyncio.gather(*(raw.evalsha(digest, 1, f"c{n}") for n in range(50))),
                "ours": lambda: asyncio.gather(*(limiter.check((limits[0], n)) for n in range(50))),
            },
            calls=20,
        )
        table.add("50 concurrent checks ÷ gather of EVALSHA", found["ours"], ceiling=0.4)
    await raw.aclose()


FLEET = """
import asyncio, json, sys
from prodkit.ratelimit import Limit, RateLimiter
from prodkit.redis import RedisLink

async def main():
    async with RedisLink(sys.argv[1], timeout=2) as link:
        limiter, limit = RateLimiter(link), Limit("50/min", name="fleet")
        await link.execute("PING")
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        decisions = await asyncio.gather(*(limiter.check((limit, "k")) for _ in range(200)))
        print(json.dumps(sum(each.allowed for each in decisions)))

asyncio.run(main())
"""


async def _fleet(table: Table, url: str) -> None:
    admitted = await asyncio.to_thread(in_processes, 4, FLEET, url)
    table.add("admitted of 4 processes x 200, limit 50", sum(admitted), ceiling=50, floor=50, unit="calls")


async def _outage(table: Table, server: Redis) -> None:
    """Milliseconds of a check through an outage, and after one with 30,000 callers."""
    limit = Limit("1000/min", name="outage")
    with Proxy(server.url) as proxy:
        async with RedisLink(proxy.url_for(server.url), timeout=1) as lossy:
            limiter = RateLimiter(lossy, denial_cache=0)
            numbers = itertools.cycle(range(100))

            def check() -> Any:
                return limiter.check((limit, next(numbers)))

            calm = await slowest(check, 1.0)
            proxy.refuse()
            await limiter.check((limit, "first"))
            down = await slowest(check, 1.0)
            table.add("p99 of a check while Redis is away", down[-len(down) // 100], ceiling=0.1, unit="ms")
            for number in range(30_000):
                await limiter.check((limit, number))
            proxy.heal()
            table.add("Redis is used again after", await until(lambda: lossy.up), ceiling=2.0, unit="s")
            back = await slowest(check, 2.0)
            table.add(
                "slowest check after it, more than before", back[-1] - calm[-1], ceiling=50.0, unit="ms"
            )


async def main() -> Table:
    table = Table(
        "ratelimit",
        "cost of the limiter over the barest thing that does the same",
        packages=("redis", "limits"),
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
