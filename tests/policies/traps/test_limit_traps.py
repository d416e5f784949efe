"""What bulkheads, adaptive limits and hedges of others get wrong, as tests."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from prodkit import BulkheadFullError, CircuitBreaker, Deadline, DeadlineExceededError, Pipeline, Timeout
from prodkit.policies import RetryAfterGate, RetryBudget
from prodkit.policies.adaptive import AdaptiveLimit
from prodkit.policies.bulkhead import Bulkhead, Limiter
from prodkit.policies.hedge import Hedge
from prodkit.testing import virtual_time
from prodkit.testing.cancel import cancel_everywhere

Case = tuple[Coroutine[Any, Any, Any], Callable[[], Any]]


class Throttled(Exception):
    retry_after = 2.0


@pytest.mark.parametrize("make", [lambda: Bulkhead(4), lambda: AdaptiveLimit(initial=4, max_limit=4)])
@virtual_time
async def test_cancelled_waiters_lose_no_capacity(make: Callable[[], Limiter]) -> None:
    limiter = make()
    holders = [asyncio.create_task(limiter.run(asyncio.sleep, 1)) for _ in range(4)]
    await asyncio.sleep(0)
    waiters = [asyncio.create_task(limiter.run(asyncio.sleep, 1)) for _ in range(40)]
    await asyncio.sleep(0.5)
    for each in waiters[::2]:
        each.cancel()
    await asyncio.sleep(0.5)  # places come free in the very moment in which others are cancelled
    for each in waiters[1::2]:
        each.cancel()
    await asyncio.wait([*holders, *waiters])
    assert (limiter.inflight, limiter.waiting) == (0, 0)
    four = [asyncio.create_task(limiter.run(asyncio.sleep, 1)) for _ in range(4)]
    await asyncio.sleep(0)
    assert limiter.inflight == 4
    await asyncio.wait(four)


@virtual_time
async def test_the_winner_of_a_hedge_does_not_wait_for_the_losers_cleanup() -> None:
    starts: list[int] = []

    async def call() -> str:
        starts.append(1)
        if len(starts) > 1:
            return "second"
        try:
            await asyncio.sleep(30)
        finally:
            await asyncio.sleep(0.5)
        return "first"

    hedge, loop = Hedge(0.03), asyncio.get_running_loop()
    assert await hedge.run(call) == "second"
    assert loop.time() == pytest.approx(0.03)
    await hedge.aclose()
    assert loop.time() == pytest.approx(0.53)


@virtual_time
async def test_a_uniform_slow_down_is_not_answered_with_twice_the_load() -> None:
    """Everything takes ten times longer: hedging cannot help, and the budget says so."""
    sent, slow = 0, 1.0

    async def call() -> None:
        nonlocal sent
        sent += 1
        await asyncio.sleep(0.01 * slow)

    budget = RetryBudget(0.5, capacity=20)
    hedge = Hedge(0.05, budget=budget)
    for _ in range(100):
        await hedge.run(call)
        budget.deposit()
    assert sent == 100
    slow, sent = 10.0, 0
    for _ in range(1000):
        await hedge.run(call)
    await hedge.aclose()
    assert sent <= 1000 + 4 + 0.1 * 100 / 5 + 5, "20 tokens, 5 a hedge, and what trickles in"


@virtual_time
async def test_a_hedge_without_a_budget_says_what_it_costs() -> None:
    sent = 0

    async def call() -> None:
        nonlocal sent
        sent += 1
        await asyncio.sleep(0.1)

    hedge = Hedge(0.05)
    for _ in range(100):
        await hedge.run(call)
    await hedge.aclose()
    assert sent == 200


@virtual_time
async def test_an_overloaded_limit_serves_those_who_still_wait_for_an_answer() -> None:
    """Five times the capacity, callers with 0.5 s: first come first served would serve nobody in time."""
    places = asyncio.Semaphore(4)

    async def upstream() -> None:
        async with places:
            await asyncio.sleep(0.1)

    async def goodput(guard: Callable[..., Any]) -> int:
        good = 0

        async def user() -> None:
            nonlocal good
            try:
                with Deadline.after(0.5):
                    await guard(upstream)
            except (BulkheadFullError, DeadlineExceededError):
                return
            good += 1

        users = []
        for _ in range(2000):
            users.append(asyncio.create_task(user()))
            await asyncio.sleep(0.005)
        await asyncio.gather(*users)
        return good

    capacity = 2000 * 0.005 * 40
    assert await goodput(AdaptiveLimit(initial=4).run) > 0.9 * capacity
    assert await goodput(Bulkhead(4).run) > 0.9 * capacity


def test_a_cancel_at_every_await_of_a_guarded_call_restores_everything() -> None:
    """Gate, breaker, limit, bulkhead and hedge, all of them contended, with a slow answer that is hedged."""

    async def scenario() -> Case:
        gate, breaker = RetryAfterGate(margin=0), CircuitBreaker("x", failures=1, open_for=1)
        limit, bulkhead, hedge = AdaptiveLimit(initial=2, max_limit=2), Bulkhead(1), Hedge(0.3)
        pipeline = Pipeline(hedge, breaker, gate, limit, bulkhead, Timeout(5))
        cleaned = [0, 0]

        async def throttled() -> None:
            raise Throttled

        async def work(seconds: float) -> None:
            cleaned[0] += 1
            try:
                await asyncio.sleep(seconds)
            finally:
                try:
                    await asyncio.sleep(0.1)
                finally:
                    cleaned[1] += 1

        with pytest.raises(Throttled):
            await gate.run(throttled)
        others = [asyncio.create_task(bulkhead.run(work, 2.5)), asyncio.create_task(limit.run(work, 2.2))]
        await asyncio.sleep(0)

        async def victim() -> None:
            with Deadline.after(10):
                await pipeline.run(work, 1)

        async def settled() -> None:
            await asyncio.gather(*others)
            await hedge.aclose()
            assert (limit.inflight, limit.waiting) == (0, 0)
            assert (bulkhead.inflight, bulkhead.waiting) == (0, 0)
            assert len(gate._line) == 0
            assert gate._timer is None
            assert breaker.state == "closed"
            assert cleaned[0] == cleaned[1], "every try that began has ended"
            await asyncio.wait_for(pipeline.run(work, 0), 5)  # and all of it still works
            await hedge.aclose()

        return victim(), settled

    assert cancel_everywhere(scenario) > 10


def test_a_cancelled_probe_gives_its_permit_back() -> None:
    async def scenario() -> Case:
        breaker, bulkhead = CircuitBreaker("x", failures=1, open_for=1), Bulkhead(1)
        pipeline = Pipeline(breaker, bulkhead)

        async def broken() -> None:
            raise ConnectionError

        with pytest.raises(ConnectionError):
            await pipeline.run(broken)
        await asyncio.sleep(1.5)

        async def settled() -> None:
            assert await asyncio.wait_for(pipeline.run(asyncio.sleep, 0, "probe"), 1) == "probe"
            assert breaker.state == "closed"
            assert bulkhead.inflight == 0

        return pipeline.run(asyncio.sleep, 1), settled

    cancel_everywhere(scenario)


def test_a_cancel_at_every_await_of_a_held_place_and_of_a_stream() -> None:
    async def scenario() -> Case:
        bulkhead = Bulkhead(1)
        holder = asyncio.create_task(bulkhead.run(asyncio.sleep, 1))
        await asyncio.sleep(0)

        async def numbers() -> Any:
            for n in range(3):
                await asyncio.sleep(0.1)
                yield n

        async def both() -> None:
            async with bulkhead.hold():
                await asyncio.sleep(0.5)
            assert [n async for n in bulkhead.stream(numbers)] == [0, 1, 2]

        async def settled() -> None:
            await holder
            assert (bulkhead.inflight, bulkhead.waiting) == (0, 0)

        return both(), settled

    cancel_everywhere(scenario)
