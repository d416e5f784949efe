"""A cache: one load for everybody, tags, and a value that stays useful while it is refreshed.

Runs in memory. Give it a Redis to see the same with two processes: ``python examples/06_cache.py redis://…``
"""

import asyncio
import sys

from prodkit import cache
from prodkit.redis import RedisLink


async def main() -> None:
    redis = RedisLink(sys.argv[1] if len(sys.argv) > 1 else None)
    answers = cache.Cache(redis, namespace="council")
    asked = 0

    async def ask_the_council() -> str:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0.1)  # expensive
        return f"answer number {asked}"

    async with redis, answers:
        key = cache.make_cache_key("council", "Is it worth it?", lang="en")
        print("key:", key)

        same = await asyncio.gather(
            *(answers.get_or_set(key, ask_the_council, ttl=3600, tags=["u:7"]) for _ in range(100))
        )
        print("100 callers,", asked, "load:", same[0])
        assert set(same) == {"answer number 1"}

        await answers.invalidate_tags("u:7")
        print("after the tag:", await answers.get_or_set(key, ask_the_council, ttl=0.2, stale=60))
        await asyncio.sleep(0.3)
        print("past its ttl, at once:", await answers.get_or_set(key, ask_the_council, ttl=0.2, stale=60))
        await asyncio.sleep(0.15)
        print(
            "refreshed in the background:", await answers.get_or_set(key, ask_the_council, ttl=0.2, stale=60)
        )
        assert asked == 3

        @answers.cached(ttl=60)
        async def square(number: int) -> int:
            print("computing", number)
            return number * number

        print(await square(7), await square(7))

        await answers.set_many({"a": 1, "b": 2}, ttl=60)
        print(await answers.load_many(["b", "c"], lambda missing: dict.fromkeys(missing, 3), ttl=60))
        async with answers.lock("reindex") as lock:
            print("alone among all processes, fencing token", lock.token)
        print("views:", await answers.counter("views").increment())
        await answers.clear()


asyncio.run(main())
