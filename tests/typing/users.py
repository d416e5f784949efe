"""What a user's type checker infers; checked by mypy and pyright, never executed."""

from typing import assert_type

import prodkit as pk
from prodkit import cache, postgres, ratelimit


async def number(text: str) -> int:
    return len(text)


def sync_number(text: str) -> int:
    return len(text)


async def policies() -> None:
    retry = pk.Retry(attempts=3)
    assert_type(await retry.run(number, "x"), int)
    assert_type(retry.call(sync_number, "x"), int)
    pipeline = pk.Pipeline(retry, pk.CircuitBreaker("b"), pk.Timeout(5))
    assert_type(await pipeline.run(number, "x"), int)

    @retry
    async def decorated(text: str, *, times: int = 1) -> list[str]:
        return [text] * times

    assert_type(await decorated("x", times=2), list[str])


async def caches(answers: cache.Cache) -> None:
    async def load() -> dict[str, int]:
        return {"n": 1}

    assert_type(await answers.get_or_set("k", load, ttl=3), dict[str, int])

    @answers.cached(ttl=3)
    async def expensive(text: str) -> bytes:
        return text.encode()

    assert_type(await expensive("x"), bytes)


async def databases(db: postgres.Pool) -> None:
    async with db.transaction() as tx:
        await tx.execute("select 1")
    await db.fetch("select 1")


async def limits(limiter: ratelimit.RateLimiter) -> None:
    decision = await limiter.check((ratelimit.Limit("5/minute", name="x"), "u"))
    assert_type(decision.allowed, bool)
    assert_type(decision.retry_after, float)


async def lifespans(db: postgres.Pool) -> None:
    async with pk.running(db):
        pass
    with pk.Deadline.after(5) as deadline:
        assert_type(deadline.remaining(), float)
