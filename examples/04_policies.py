"""A dependency fails, is no longer called, and recovers: an afternoon in a few milliseconds of virtual time."""

import asyncio

import prodkit as pk
from prodkit import policies
from prodkit.testing import virtual_time

rt = pk.Runtime()
breaker = pk.CircuitBreaker("perplexity", failures=5, open_for=300, runtime=rt)
guarded = pk.Pipeline(
    policies.Fallback("no facts today", on=(ConnectionError, pk.RejectedError)),
    pk.Retry(attempts=3, budget=policies.RetryBudget(runtime=rt)),
    breaker,
    pk.Timeout(5),
    runtime=rt,
)
down = False
reached = 0


async def research(topic: str) -> str:
    global reached
    reached += 1
    if down:
        raise ConnectionError("refused")
    return f"three facts about {topic}"


async def main() -> None:
    global down
    rt.events.subscribe(
        lambda event: print(f"   {event.name}: {event.reason}"), policies.events.BreakerChanged
    )
    print(guarded.describe())
    print(await guarded.run(research, "bread"))

    down = True
    for _ in range(100):
        assert await guarded.run(research, "bread") == "no facts today"
    print(f"100 calls while it was down sent {reached - 1} requests; the circuit is {breaker.state}")

    print("from settings:")
    named = pk.PolicySet(
        {"search": {"retry": {"attempts": 3, "budget": True}, "breaker": 5, "timeout": 2}},
        overrides={"SEARCH__RETRY__ATTEMPTS": "2"},
        runtime=rt,
    )
    print(named.describe())
    chaos = pk.Chaos(1.0, error=ConnectionError, name="down on purpose", runtime=rt)
    async for attempt in pk.Retry(2, wait=0.1):
        async with attempt:  # the block form: the first attempt fails on purpose
            chaos.enabled = attempt.number == 1
            print(await chaos.run(asyncio.sleep, 0, "the second attempt answered"))

    down = False
    await asyncio.sleep(300)
    print(await guarded.run(research, "bread"))
    assert breaker.state == "closed"
    assert reached == 1 + 5 + 1


virtual_time(main())
