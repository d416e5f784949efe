"""The guarded forms of a breaker: functions, streams, generators and blocks, closed and half open."""

import asyncio
import functools
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

import prodkit as pk
from prodkit.testing import virtual_time


def probing(**options: Any) -> pk.CircuitBreaker:
    breaker = pk.CircuitBreaker("b", **{"open_for": 10.0, **options})
    breaker.trip(0)
    return breaker


async def tokens() -> AsyncIterator[int]:
    yield 1
    await asyncio.sleep(60)
    yield 2


@virtual_time
async def test_a_probe_holds_no_slot_after_the_first_item_of_its_stream() -> None:
    breaker = probing(successes=2)
    first: Any = breaker.stream(tokens)
    await anext(first)
    assert breaker.state == "half_open"
    second: Any = breaker.stream(tokens)  # the slot is free again
    await anext(second)
    assert breaker.state == "closed"
    assert [item async for item in first] == [2]
    await second.aclose()
    assert breaker.statistics.calls == 0  # a probe's stream is counted once, and its window began after it


@virtual_time
async def test_before_its_first_item_a_stream_holds_the_slot() -> None:
    breaker = probing()
    late = asyncio.ensure_future(anext(aiter(breaker.stream(_silent))))
    await asyncio.sleep(1)
    with pytest.raises(pk.CircuitOpenError, match="its probes are in flight"):
        await anext(aiter(breaker.stream(tokens)))
    late.cancel()
    await asyncio.wait((late,))
    await anext(aiter(breaker.stream(tokens)))


async def _silent() -> AsyncIterator[int]:
    await asyncio.sleep(5)
    yield 0


def test_a_generator_is_judged_by_its_first_item_too() -> None:
    def numbers() -> Iterator[int]:
        yield 1
        raise ConnectionError("broken off")

    breaker = probing(failures=2)
    items: Any = breaker(numbers)()
    assert next(items) == 1
    assert breaker.state == "closed"
    with pytest.raises(ConnectionError):
        next(items)
    assert (breaker.state, breaker.statistics.failures) == ("closed", 1)


@virtual_time
async def test_a_slow_first_item_of_a_probe_opens_the_circuit_again() -> None:
    breaker = probing(slow_after=1.0, slow_call_rate=1.0, min_calls=1)
    stream: Any = breaker.stream(_silent)
    await anext(stream)
    assert breaker.state == "open"
    await stream.aclose()
    breaker = probing(slow_after=1.0, slow_call_rate=1.0, min_calls=1, slow_gap=30)
    stream = breaker.stream(tokens)
    await anext(stream)
    assert breaker.state == "closed"
    await anext(stream)  # after 60 s
    with pytest.raises(StopAsyncIteration):
        await anext(stream)
    assert breaker.state == "open"


@virtual_time
async def test_the_rest_of_a_stream_counts_nowhere_once_the_circuit_was_reset() -> None:
    breaker = probing(failures=1)

    async def breaks() -> AsyncIterator[int]:
        yield 1
        raise ConnectionError

    stream: Any = breaker.stream(breaks)
    await anext(stream)
    breaker.isolate()
    breaker.reset()
    with pytest.raises(ConnectionError):
        await anext(stream)
    assert breaker.state == "closed"


@pytest.mark.parametrize("timed", [False, True])
async def test_every_form_counts_in_one_state(timed: bool) -> None:
    options: dict[str, Any] = {"slow_after": 60.0, "slow_call_rate": 1.0} if timed else {}
    breaker = pk.CircuitBreaker("b", failures=5, **options)

    async def fails() -> None:
        raise ConnectionError

    async def streams() -> AsyncIterator[int]:
        raise ConnectionError
        yield 1

    def plain() -> None:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await breaker.run(fails)
    with pytest.raises(ConnectionError):
        breaker.call(plain)
    with pytest.raises(ConnectionError):
        [item async for item in breaker.stream(streams)]
    with pytest.raises(ConnectionError), breaker:
        plain()
    assert breaker.statistics.failures == 4
    with pytest.raises(ConnectionError):
        async with breaker:
            await fails()
    assert breaker.state == "open"
    for refused in (lambda: breaker.call(plain), lambda: breaker(functools.partial(plain))()):
        with pytest.raises(pk.CircuitOpenError):
            refused()
    with pytest.raises(pk.CircuitOpenError):
        await breaker.run(fails)
    with pytest.raises(pk.CircuitOpenError):
        await anext(aiter(breaker.stream(streams)))
    with pytest.raises(pk.CircuitOpenError), breaker:
        pass
    assert breaker.statistics.rejected == 5


async def test_a_plain_function_that_returns_a_coroutine_counts_at_the_end_of_it() -> None:
    breaker = probing()

    async def late() -> int:
        return 7

    coroutine: Any = breaker(lambda: late())()
    assert breaker.state == "half_open"
    assert await coroutine == 7
    assert breaker.state == "closed"


def test_threads_share_the_count_of_successes() -> None:
    breaker = pk.CircuitBreaker("b")
    guarded = breaker(lambda: 1)
    threads = [threading.Thread(target=lambda: [guarded() for _ in range(500)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert breaker.statistics.calls == 100  # the window is full, and nothing was lost on the way
