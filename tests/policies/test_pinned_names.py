"""The pinned names do what the design promises."""

import asyncio
import functools

import pytest

import prodkit as pk
from prodkit.testing import virtual_time


class Boom(Exception):
    pass


class Upstream:
    def __init__(self) -> None:
        self.calls = 0
        self.mode = "ok"

    async def __call__(self, value: int = 1) -> int:
        self.calls += 1
        if self.mode == "bad":
            raise Boom("original")
        if self.mode == "hang":
            await asyncio.sleep(3600)
        return value


async def trip(breaker: pk.CircuitBreaker, up: Upstream, times: int = 5) -> None:
    up.mode = "bad"
    for _ in range(times):
        with pytest.raises(Boom):
            await breaker.run(up)
    up.mode = "ok"


@virtual_time
async def test_a_breaker_opens_probes_and_closes() -> None:
    breaker, up = pk.CircuitBreaker("perplexity", failures=5, open_for=300), Upstream()
    await trip(breaker, up)
    assert breaker.state == "open"
    with pytest.raises(pk.CircuitOpenError) as refused:
        await breaker.run(up)
    assert refused.value.retry_after == 300
    assert up.calls == 5
    await asyncio.sleep(300)
    assert breaker.state == "half_open"
    assert await breaker.run(up, 7) == 7
    assert breaker.state == "closed"


@virtual_time
async def test_isolate_and_reset() -> None:
    breaker, up = pk.CircuitBreaker("x"), Upstream()
    breaker.isolate()
    await asyncio.sleep(10_000)
    assert breaker.state == "isolated"
    with pytest.raises(pk.CircuitOpenError):
        await breaker.run(up)
    breaker.reset()
    assert await breaker.run(up) == 1


@virtual_time
async def test_the_pipeline_of_the_design() -> None:
    runtime, up = pk.Runtime(), Upstream()
    breaker = pk.CircuitBreaker("perplexity", failures=5, open_for=300, runtime=runtime)
    pipeline = pk.Pipeline(pk.Retry(attempts=3), breaker, pk.Timeout(5), runtime=runtime)
    assert await pipeline.run(up, 3) == 3
    up.mode = "hang"
    loop = asyncio.get_running_loop()
    start = loop.time()
    with pk.Deadline.after(7), pytest.raises(pk.DeadlineExceededError):
        await pipeline.run(up)
    assert loop.time() - start == 7
    assert up.calls == 3


@virtual_time
async def test_retry_stops_at_an_open_breaker() -> None:
    breaker, up = pk.CircuitBreaker("x", failures=2), Upstream()
    up.mode = "bad"
    with pytest.raises(pk.CircuitOpenError):
        await pk.Pipeline(pk.Retry(attempts=10), breaker).run(up)
    assert up.calls == 2


@virtual_time
async def test_the_last_error_says_how_often_it_was_tried() -> None:
    up = Upstream()
    up.mode = "bad"
    with pytest.raises(Boom) as raised:
        await pk.Retry(attempts=3, wait=1).run(up)
    assert up.calls == 3
    assert raised.value.__notes__ == ["gave up after 3 attempts, 2.0 s after the first failed"]


def test_sync_calls_and_decorators() -> None:
    calls = []

    @pk.Retry(attempts=3, wait=0)
    def flaky(value: int) -> int:
        calls.append(value)
        if len(calls) < 3:
            raise Boom
        return value

    assert flaky(4) == 4
    assert calls == [4, 4, 4]
    assert pk.CircuitBreaker("s").call(flaky, 5) == 5


@virtual_time
async def test_whatever_returns_a_coroutine_is_guarded() -> None:
    up = Upstream()
    forms = (
        up,
        up.__call__,
        functools.partial(up, 2),
        lambda: up(),
        lambda: up.__call__(1),
    )
    for form in forms:
        up.calls, up.mode = 0, "bad"
        guarded = pk.Retry(attempts=3, wait=1)(form)
        for expected in (3, 6):
            with pytest.raises(Boom):
                await guarded()
            assert up.calls == expected


def test_what_cannot_be_guarded_is_refused() -> None:
    async def fn() -> None: ...

    breaker = pk.CircuitBreaker("x")
    for act in (breaker.run, breaker):
        with pytest.raises(TypeError, match="pass the function"):
            act(fn())
    with pytest.raises(TypeError, match=r"await policy\.run"):
        breaker.call(fn)
    with pytest.raises(TypeError, match="Timeout cannot guard a synchronous call"):
        pk.Timeout(1)(len)

    def items():
        yield 1

    with pytest.raises(TypeError, match="generator"):
        pk.Fallback(None, on=KeyError)(items)
