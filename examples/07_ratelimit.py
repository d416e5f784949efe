"""Rate limits: two at once for a login, a refund for work that failed, and what the client sees.

Runs in memory. Give it a Redis to share the limits: ``python examples/07_ratelimit.py redis://…``
"""

import asyncio
import sys

from prodkit import ratelimit
from prodkit.redis import RedisLink

EXPORT = ratelimit.Limit("3/day", name="export")


async def main() -> None:
    redis = RedisLink(sys.argv[1] if len(sys.argv) > 1 else None)
    limiter = ratelimit.RateLimiter(redis, namespace="example")
    account = ratelimit.account_key(" Ana@Example.com")
    address = ratelimit.client_ip("10.0.0.2", ["203.0.113.9"], trusted_proxies=["10.0.0.0/8"])

    async with redis:
        for attempt in range(1, 7):
            decision = await limiter.check((ratelimit.LOGIN, account), (ratelimit.LOGIN_IP, address))
            print(f"attempt {attempt}: allowed={decision.allowed} remaining={decision.remaining}")
        assert not decision.allowed
        print(ratelimit.status(decision), ratelimit.message(decision))
        print(ratelimit.message(decision, "pt-BR"))
        for name, value in ratelimit.headers(decision).items():
            print(f"{name}: {value}")

        await limiter.reset(ratelimit.LOGIN, account)  # the user proved who they are in another way
        await limiter.reset(ratelimit.LOGIN_IP, address)
        assert (await limiter.check((ratelimit.LOGIN, account), cost=0)).remaining == 5

        decision = await limiter.check((EXPORT, 7))
        source_answers = False
        if not source_answers:
            await limiter.refund(decision)  # a failure of ours is not one of the user's three a day
        left = await limiter.check((EXPORT, 7), cost=0)
        print("exports left today:", left.remaining)
        assert left.remaining == 3


asyncio.run(main())
