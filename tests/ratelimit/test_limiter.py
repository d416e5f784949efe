from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from prodkit.core.runtime import Runtime
from prodkit.errors import RateLimitedError
from prodkit.ratelimit import Limit, RateLimitDenied, RateLimiter
from prodkit.testing.loop import virtual_time

TEN = Limit("10/min", name="ten")
THREE = Limit("3/min", name="three")


@virtual_time
async def test_counts_down_and_refuses() -> None:
    limiter = RateLimiter()
    assert [(await limiter.check((THREE, "a"))).remaining for _ in range(3)] == [2, 1, 0]
    refused = await limiter.check((THREE, "a"))
    assert not refused.allowed
    assert refused.violated == (THREE,)
    assert refused.retry_after == pytest.approx(60)
    assert (await limiter.check((THREE, "b"))).allowed


@virtual_time
async def test_waiting_retry_after_is_enough_and_less_is_not() -> None:
    limiter, rng = RateLimiter(), random.Random(1)
    for _ in range(300):
        decision = await limiter.check((THREE, "a"))
        if decision.allowed:
            assert decision.retry_after == 0
            await asyncio.sleep(rng.random() * 30)
            continue
        if rng.random() < 0.5:
            await asyncio.sleep(decision.retry_after - 0.001)
            decision = await limiter.check((THREE, "a"))
            assert not decision.allowed
        await asyncio.sleep(decision.retry_after)
        assert (await limiter.check((THREE, "a"))).allowed


@pytest.mark.parametrize("amount", [1, 10, 256, 257, 1000])
@virtual_time
async def test_no_window_ever_holds_more(amount: int) -> None:
    limit = Limit(f"{amount}/min", name="any")
    limiter, rng, admitted = RateLimiter(), random.Random(amount), []
    for _ in range(amount * 8):
        if (await limiter.check((limit, "a"))).allowed:
            admitted.append(asyncio.get_running_loop().time())
        if rng.random() < 0.3:
            await asyncio.sleep(rng.expovariate(amount / 30))
    assert len(admitted) > amount
    assert all(late - early >= 60 for early, late in zip(admitted, admitted[amount:], strict=False))


@virtual_time
async def test_all_or_nothing() -> None:
    limiter = RateLimiter()
    for _ in range(3):
        assert (await limiter.check((THREE, "a"), (TEN, "ip"))).allowed
    refused = await limiter.check((THREE, "a"), (TEN, "ip"))
    assert refused.violated == (THREE,)
    assert (await limiter.check((TEN, "ip"), cost=0)).remaining == 7


@virtual_time
async def test_a_refused_call_is_not_counted() -> None:
    limiter = RateLimiter()
    for _ in range(3):
        await limiter.check((THREE, "a"))
    await asyncio.sleep(30)
    for _ in range(50):
        assert not (await limiter.check((THREE, "a"))).allowed
    await asyncio.sleep(30.1)
    assert (await limiter.check((THREE, "a"))).remaining == 2


@virtual_time
async def test_cost() -> None:
    limiter = RateLimiter()
    assert (await limiter.check((TEN, "a"), cost=8)).remaining == 2
    assert not (await limiter.check((TEN, "a"), cost=5)).allowed
    assert (await limiter.check((TEN, "a"), cost=2)).allowed
    with pytest.raises(ValueError, match="never fit"):
        await limiter.check((TEN, "a"), cost=11)
    with pytest.raises(ValueError, match="negative"):
        await limiter.check((TEN, "a"), cost=-1)


@virtual_time
async def test_refund_gives_back_exactly_that_and_once() -> None:
    limiter = RateLimiter()
    first = await limiter.check((THREE, "a"), (TEN, "a"))
    await asyncio.sleep(10)
    second = await limiter.check((THREE, "a"), (TEN, "a"), cost=2)
    await limiter.refund(second)
    await limiter.refund(second)
    state = await limiter.check((THREE, "a"), (TEN, "a"), cost=0)
    assert [each.remaining for each in state.states] == [2, 9]
    await limiter.refund(first)
    assert (await limiter.check((THREE, "a"), cost=0)).remaining == 3


@virtual_time
async def test_refund_of_what_has_ended_changes_nothing() -> None:
    limiter = RateLimiter()
    first = await limiter.check((THREE, "a"))
    await asyncio.sleep(61)
    await limiter.check((THREE, "a"))
    await limiter.refund(first)
    assert (await limiter.check((THREE, "a"), cost=0)).remaining == 2


@virtual_time
async def test_reset() -> None:
    limiter = RateLimiter()
    for _ in range(3):
        await limiter.check((THREE, "a"))
    await limiter.reset(THREE, "a")
    assert (await limiter.check((THREE, "a"))).remaining == 2
    await limiter.reset(THREE, "never seen")


@virtual_time
async def test_keys_of_different_types_are_different_callers_and_none_is_one() -> None:
    limiter = RateLimiter()
    one = Limit("1/min", name="one")
    for key in ("1", 1, b"1", ""):
        assert (await limiter.check((one, key))).allowed
    assert (await limiter.check((one, None))).allowed
    assert not (await limiter.check((one, None))).allowed
    for wrong in (True, 1.5, ["a"], object()):
        key: Any = wrong
        with pytest.raises(TypeError, match="a key is"):
            await limiter.check((one, key))


@virtual_time
async def test_misuse() -> None:
    limiter = RateLimiter()
    with pytest.raises(ValueError, match="at least one"):
        await limiter.check()
    with pytest.raises(ValueError, match="twice"):
        await limiter.check((THREE, "a"), (THREE, "a"))
    with pytest.raises(TypeError, match="pair"):
        await limiter.check(THREE)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="allowed"):
        bool(await limiter.check((THREE, "a")))


@virtual_time
async def test_a_replica_alone_has_its_share() -> None:
    limiter = RateLimiter()
    shared = Limit("10/min", name="shared", replicas=4)
    assert [(await limiter.check((shared, "a"))).allowed for _ in range(4)] == [True, True, True, False]
    assert not (await limiter.check((shared, "b"), cost=5)).allowed


@virtual_time
async def test_memory_is_bounded_and_forgets_no_live_counter() -> None:
    limiter = RateLimiter(max_keys=100)
    for _ in range(3):
        await limiter.check((THREE, "victim"))
    admitted = 0
    for number in range(1000):
        admitted += (await limiter.check((THREE, number))).allowed
    assert not (await limiter.check((THREE, "victim"))).allowed
    assert 98 <= admitted <= 99 + 3  # the places that were left, and what the shared log holds
    await asyncio.sleep(61)
    for number in range(200):
        await limiter.check((THREE, number))
        await asyncio.sleep(60 / 50)
    assert (await limiter.check((THREE, "victim"))).remaining == 2


@virtual_time
async def test_denial_emits_an_event_and_raises() -> None:
    runtime, seen = Runtime(), list[Any]()
    runtime.events.subscribe(seen.append, RateLimitDenied)
    limiter = RateLimiter(runtime=runtime)
    for _ in range(3):
        (await limiter.check((THREE, "a"))).raise_if_denied()
    with pytest.raises(RateLimitedError) as caught:
        (await limiter.check((THREE, "a"))).raise_if_denied()
    assert caught.value.limit == "three"
    assert caught.value.retry_after == pytest.approx(60)
    assert [(event.limit, event.source) for event in seen] == [("three", "memory")]
