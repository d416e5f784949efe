"""What bulkheads, adaptive limits and hedges of others get wrong, as tests."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

import prodkit as pk
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
    """Five times the capacity, callers with 0.5 s: first come first served would serve none in time."""
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
            assert len(gate._queue) == 0
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


def test_a_cancel_at_every_await_of_a_held_slot_and_of_a_stream() -> None:
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


@virtual_time
async def test_a_hedge_never_repeats_what_is_marked() -> None:
    calls = 0

    @pk.policies.non_idempotent
    async def pay() -> str:
        nonlocal calls
        calls += 1
        await asyncio.sleep(5)
        return "paid"

    for guard in (
        pk.Hedge(0.1),
        pk.Pipeline(pk.Hedge(0.1), pk.CircuitBreaker("b"), pk.Timeout(9)),
    ):
        for call in (lambda guard=guard: guard.run(pay), lambda guard=guard: guard(pay)()):
            calls = 0
            assert await call() == "paid"
            assert calls == 1
    calls = 0
    assert await pk.Hedge(0.1, idempotent=False).run(lambda: pay()) == "paid"
    assert calls == 1


@virtual_time
async def test_a_hedge_starts_no_further_attempt_after_a_throttled_one() -> None:
    calls = 0

    async def ask() -> str:
        nonlocal calls
        calls += 1
        if calls == 2:
            error = RuntimeError("429")
            error.retry_after = 3  # type: ignore[attr-defined]
            raise error
        await asyncio.sleep(2)
        return "answer"

    assert await pk.Hedge(0.1, extra=5).run(ask) == "answer"
    assert calls == 2


@virtual_time
async def test_a_gate_releases_its_queue_at_a_pace_to_the_end() -> None:
    """One caller is throttled before the others start: no instant sees more than twice the rate."""
    loop, left = asyncio.get_running_loop(), []
    gate = pk.RetryAfterGate("q", margin=0, queue_timeout=600)

    async def ask() -> None:
        if loop.time() < 1:
            error = RuntimeError("429")
            error.retry_after = 1  # type: ignore[attr-defined]
            raise error
        left.append(loop.time())

    with pytest.raises(RuntimeError):
        await gate.run(ask)
    await asyncio.gather(*(gate.run(ask) for _ in range(50)))
    assert len(left) == 50
    gaps = [after - before for before, after in itertools.pairwise(left)]
    assert min(gaps) > 0
    for gap, following in itertools.pairwise(gaps):
        assert following >= gap / 2 - 1e-9, "the rate more than doubled at once"
    assert max(sum(at <= each < at + 1 for each in left) for at in left[:10]) <= 4


@virtual_time
async def test_a_stream_is_slow_if_its_first_item_is() -> None:
    async def tokens(first: float, gap: float) -> AsyncIterator[int]:
        await asyncio.sleep(first)
        for number in range(5):
            yield number
            await asyncio.sleep(gap)

    def breaker(**options: object) -> pk.CircuitBreaker:
        return pk.CircuitBreaker("b", slow_after=1, slow_call_rate=0.5, min_calls=4, **options)  # type: ignore[arg-type]

    quick = breaker()
    for _ in range(9):
        async for _ in quick.stream(tokens, 0.5, 3.0):
            await asyncio.sleep(10)  # the reader's own pauses
    assert quick.state == "closed"
    slow = breaker()
    for _ in range(4):
        [each async for each in slow.stream(tokens, 1.5, 0.0)]
    assert slow.state == "open"
    gaps = breaker(slow_gap=2)
    for _ in range(4):
        async for _ in gaps.stream(tokens, 0.5, 3.0):
            pass
    assert gaps.state == "open"
    patient = breaker(slow_gap=2)
    for _ in range(9):
        async for _ in patient.stream(tokens, 0.5, 0.1):
            await asyncio.sleep(10)
    assert patient.state == "closed"


@virtual_time
async def test_being_throttled_opens_no_breaker() -> None:
    class Answered(Exception):
        status_code = 429
        retry_after = 3

    async def ask() -> None:
        raise Answered

    breaker = pk.CircuitBreaker("b", failures=2, on=Answered)
    for _ in range(9):
        with pytest.raises(Answered):
            await breaker.run(ask)
    assert breaker.state == "closed"
    outcomes: list[str] = []
    counted = pk.CircuitBreaker(
        "b", failures=9, on_outcome=lambda outcome, error: outcomes.append(str(outcome))
    )
    with pytest.raises(Answered):
        await counted.run(ask)
    await counted.run(asyncio.sleep, 0)
    own = pk.CircuitBreaker("b", failures=1, classify=lambda error: pk.policies.Outcome.FAILED)
    with pytest.raises(Answered):
        await own.run(ask)
    assert own.state == "open"
    assert outcomes == ["throttled", "ok"]


@virtual_time
async def test_priorities_deadlines_and_a_limit_that_changes() -> None:
    order: list[str] = []

    async def work(name: str) -> None:
        order.append(name)
        await asyncio.sleep(1)

    bulkhead = pk.Bulkhead(
        1, max_queue=2, order="fifo", priority=lambda name: 1 if name.startswith("high") else 0
    )
    tasks = [asyncio.ensure_future(bulkhead.run(work, name)) for name in ("first", "low a", "low b")]
    await asyncio.sleep(0.1)
    with pytest.raises(pk.BulkheadFullError, match="its queue is full"):
        await bulkhead.run(work, "low c")
    tasks.append(asyncio.ensure_future(bulkhead.run(work, "high")))
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert order == ["first", "high", "low a"]
    assert isinstance(results[2], pk.BulkheadFullError)

    order.clear()
    queue = pk.Bulkhead(1, order="deadline")

    async def due(name: str, seconds: float) -> None:
        with pk.Deadline.after(seconds):
            await queue.run(work, name)

    await asyncio.gather(due("runs", 99), due("late", 50), due("soon", 20), due("later", 60))
    assert order == ["runs", "soon", "late", "later"]

    order.clear()
    tasks = [asyncio.ensure_future(queue.run(work, str(n))) for n in range(4)]
    await asyncio.sleep(0.1)
    queue.limit = 3
    await asyncio.sleep(0.1)
    assert queue.inflight == 3
    await asyncio.gather(*tasks)
    with pytest.raises(ValueError, match="limit must be"):
        queue.limit = 0
