"""The cost of the limiter as ratios to the barest thing that does the same, with the peers beside it.

CPU time of this process; what Redis itself spends is not in it.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from benchmarks.harness import Table, ratios, run
from prodkit.ratelimit import Limit, RateLimiter
from prodkit.redis import RedisLink
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
    return {"limits fixed": lambda: fixed.hit(item, "k"), "limits moving": lambda: moving.hit(item, "k")}


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
        "bare": bare,
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
        found = await ratios(
            {
                "EVALSHA": lambda: raw.evalsha(digest, 1, "count"),
                "one": lambda: limiter.check((limits[0], "k")),
                "three": lambda: limiter.check(*((limit, "l") for limit in limits)),
            },
            calls=200,
        )
        table.add("check of one limit ÷ EVALSHA", found["one"], ceiling=1.25)
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


async def main() -> Table:
    table = Table("ratelimit", "cost of the limiter over the barest thing that does the same")
    await _in_memory(table)
    if Redis.available():
        with Redis() as server:
            await _on_redis(table, server.url)
    return table


if __name__ == "__main__":
    run(main)
