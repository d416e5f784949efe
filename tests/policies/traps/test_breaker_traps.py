"""The twenty ways in which circuit breakers were found to fail, each with some library in use."""

import asyncio
import contextlib
import inspect
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import pytest

import prodkit as pk
from prodkit.core.clock import LoopClock
from prodkit.testing import virtual_time

HOLD = 0.2


def made(threshold: int = 4, **options: Any) -> pk.CircuitBreaker:
    return pk.CircuitBreaker("trap", failures=threshold, open_for=HOLD, **options)


async def trip(breaker: pk.CircuitBreaker, up: Any, times: int = 4) -> None:
    for _ in range(times):
        with pytest.raises(up.Boom):
            await breaker.run(up, "bad")


async def reaches(breaker: pk.CircuitBreaker, up: Any) -> bool:
    """Return whether one more call reaches the upstream."""
    before = up.calls
    with contextlib.suppress(pk.CircuitOpenError):
        await breaker.run(up)
    return bool(up.calls > before)


async def started(breaker: pk.CircuitBreaker, up: Any, mode: Any) -> "asyncio.Task[Any]":
    task = asyncio.ensure_future(breaker.run(up, mode))
    await asyncio.sleep(0)
    return task


@virtual_time
async def test_01_a_decorated_async_function_opens(up) -> None:
    breaker = made()

    @breaker
    async def decorated(mode: str) -> Any:
        return await up(mode)

    for _ in range(4):
        with pytest.raises(up.Boom):
            await decorated("bad")
    with pytest.raises(pk.CircuitOpenError):
        await decorated("ok")
    assert up.calls == 4


@virtual_time
async def test_02_the_error_that_trips_it_reaches_its_caller(up, outcome) -> None:
    breaker = made(2)
    assert [await outcome(breaker.run(up, "bad")) for _ in range(2)] == [up.Boom, up.Boom]
    assert breaker.state == "open"


@virtual_time
async def test_03_callers_that_hang_up_do_not_open_it(up, outcome) -> None:
    breaker = made(3)
    for _ in range(5):
        task = await started(breaker, up, "hang")
        task.cancel()
        assert await outcome(task) == "cancelled"
    assert await reaches(breaker, up)


@virtual_time
async def test_04_a_cancelled_call_does_not_reset_the_count(up, outcome) -> None:
    breaker = made(3)
    await trip(breaker, up, 2)
    task = await started(breaker, up, "hang")
    task.cancel()
    await outcome(task)
    await trip(breaker, up, 1)
    assert not await reaches(breaker, up)


@virtual_time
async def test_05_a_hundred_callers_at_recovery_send_one_probe(up) -> None:
    breaker = made()
    await trip(breaker, up)
    await asyncio.sleep(HOLD)
    before = up.calls
    answer = asyncio.get_running_loop().create_future()
    tasks = [await started(breaker, up, answer) for _ in range(100)]
    assert up.calls - before == 1
    answer.set_result("back")
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert results.count("back") == 1
    assert sum(isinstance(result, pk.CircuitOpenError) for result in results) == 99


@virtual_time
async def test_06_a_late_success_does_not_close_an_open_circuit(up) -> None:
    breaker = made()
    answer = asyncio.get_running_loop().create_future()
    early = await started(breaker, up, answer)
    await trip(breaker, up)
    answer.set_result("late")
    assert await early == "late"
    assert not await reaches(breaker, up)


@virtual_time
async def test_07_stale_failures_do_not_open_a_recovered_circuit(up, outcome) -> None:
    breaker = made()
    answer = asyncio.get_running_loop().create_future()
    stale = [await started(breaker, up, answer) for _ in range(8)]
    await trip(breaker, up)
    await asyncio.sleep(HOLD)
    assert await reaches(breaker, up)
    answer.set_exception(up.Boom("late"))
    await asyncio.gather(*map(outcome, stale))
    assert breaker.state == "closed"
    assert await reaches(breaker, up)


@virtual_time
async def test_08_a_success_of_the_closed_era_is_no_probe(up) -> None:
    breaker = made()
    loop = asyncio.get_running_loop()
    old, new = loop.create_future(), loop.create_future()
    stale = await started(breaker, up, old)
    await trip(breaker, up)
    await asyncio.sleep(HOLD)
    probe = await started(breaker, up, new)
    old.set_result("late")
    await stale
    assert breaker.state == "half_open"
    assert not await reaches(breaker, up)
    new.set_result("back")
    await probe
    assert breaker.state == "closed"


@virtual_time
async def test_09_a_probe_of_an_earlier_half_open_era_frees_no_slot(up) -> None:
    breaker = made(probes=2)
    await trip(breaker, up)
    await asyncio.sleep(HOLD)
    loop = asyncio.get_running_loop()
    old, new = loop.create_future(), loop.create_future()
    stale = await started(breaker, up, old)
    await trip(breaker, up, 1)
    assert breaker.state == "open"
    await asyncio.sleep(HOLD)
    probe = await started(breaker, up, new)
    old.set_result("late")
    await stale
    before = up.calls
    more = [await started(breaker, up, new) for _ in range(5)]
    assert up.calls - before == 1
    assert breaker.state == "half_open"
    new.set_result("back")
    await asyncio.gather(probe, *more, return_exceptions=True)


@virtual_time
async def test_10_a_cancelled_probe_releases_its_slot(up, outcome) -> None:
    breaker = made()
    await trip(breaker, up)
    await asyncio.sleep(HOLD)
    task = await started(breaker, up, "hang")
    task.cancel()
    await outcome(task)
    assert await reaches(breaker, up)


@virtual_time
async def test_11_a_cancelled_probe_closes_nothing(up, outcome) -> None:
    breaker = made()
    await trip(breaker, up)
    await asyncio.sleep(HOLD)
    task = await started(breaker, up, "hang")
    task.cancel()
    await outcome(task)
    assert breaker.state == "half_open"


@virtual_time
async def test_12_a_probe_that_hangs_is_replaced(up, outcome) -> None:
    breaker = made(probe_timeout=3)
    await trip(breaker, up)
    await asyncio.sleep(HOLD)
    hung = await started(breaker, up, "hang")
    await asyncio.sleep(2.9)
    assert not await reaches(breaker, up)
    await asyncio.sleep(0.1)
    assert await reaches(breaker, up)
    assert breaker.state == "closed"
    hung.cancel()
    await outcome(hung)
    assert breaker.state == "closed"


@virtual_time
async def test_13_two_failures_of_three_open_it_although_never_in_a_row(up, outcome) -> None:
    breaker = made()
    for step in range(60):
        await outcome(breaker.run(up, "ok" if step % 3 == 2 else "bad"))
    assert up.calls < 25


@virtual_time
async def test_14_answers_that_are_too_slow_open_it(up, outcome) -> None:
    breaker = made(slow_after=0.05, slow_call_rate=0.5, min_calls=4)
    for _ in range(3):
        await asyncio.gather(*(outcome(breaker.run(up, 0.08)) for _ in range(8)))
    assert breaker.state == "open"


@virtual_time
async def test_15_a_business_error_does_not_close_a_half_open_circuit(up, outcome) -> None:
    breaker = made(ignore=up.Business)
    await trip(breaker, up)
    await asyncio.sleep(HOLD)
    assert await outcome(breaker.run(up, "business")) is up.Business
    assert breaker.state == "half_open"
    assert await reaches(breaker, up)
    assert breaker.state == "closed"


@virtual_time
async def test_16_a_business_error_does_not_reset_the_count(up, outcome) -> None:
    breaker = made(3, ignore=lambda error: isinstance(error, up.Business))
    for mode in ("bad", "bad", "business", "bad"):
        await outcome(breaker.run(up, mode))
    assert not await reaches(breaker, up)


@virtual_time
async def test_17_an_async_generator_is_guarded(up) -> None:
    breaker = made()

    @breaker
    async def items() -> AsyncIterator[int]:
        up.calls += 1
        raise up.Boom("at the start")
        yield 1

    for _ in range(4):
        with pytest.raises(up.Boom):
            [item async for item in items()]
    with pytest.raises(pk.CircuitOpenError):
        [item async for item in items()]
    assert up.calls == 4


@virtual_time
async def test_18_a_reader_that_leaves_a_stream_is_no_failure() -> None:
    breaker = made(3)

    @breaker
    async def items() -> AsyncIterator[int]:
        for number in range(10):
            yield number

    for _ in range(6):
        stream = items()
        async for _ in stream:
            break
        await stream.aclose()  # type: ignore[attr-defined]
    assert len([item async for item in items()]) == 10
    assert breaker.state == "closed"


def test_19_a_decorated_function_stays_an_async_function_with_its_signature() -> None:
    async def h(a: int, *, b: str = "x") -> float:
        """Says something."""
        return 1.0

    guarded = made()(h)
    assert inspect.iscoroutinefunction(guarded)
    assert inspect.signature(guarded) == inspect.signature(h)
    assert (guarded.__name__, guarded.__doc__) == ("h", "Says something.")


class StepsBack(LoopClock):
    """A clock whose wall time was set back an hour; durations do not come from it."""

    __slots__ = ()

    def now(self) -> datetime:
        return datetime.fromtimestamp(super().now().timestamp() - 3600, tz=super().now().tzinfo)


@virtual_time
async def test_20_a_wall_clock_that_steps_back_does_not_keep_it_open(up, monkeypatch) -> None:
    breaker = made(runtime=pk.Runtime(clock=StepsBack()))
    await trip(breaker, up)
    monkeypatch.setattr(time, "time", lambda: 0.0)
    await asyncio.sleep(HOLD)
    assert await reaches(breaker, up)


def test_no_lock_is_held_while_a_call_runs() -> None:
    """Eight threads meet inside the guarded call, which they could not if one had to wait for the other."""
    import threading

    breaker, meeting = made(), threading.Barrier(8)
    with ThreadPoolExecutor(8) as threads:
        waits = [threads.submit(breaker.call, meeting.wait, 10) for _ in range(8)]
        assert sorted(wait.result() for wait in waits) == list(range(8))


def test_thirty_two_threads_lose_nothing() -> None:
    """Each of 32 threads fails 50 times; every failure is counted, and so is every success."""
    total, threads = 1600, 32
    breaker = pk.CircuitBreaker(
        "threads", failures=None, failure_rate=1.0, window_calls=total * 2 + 1, min_calls=total * 2 + 1
    )

    def fail() -> None:
        raise ConnectionError

    def work() -> None:
        for _ in range(total // threads):
            breaker.call(int)
            with pytest.raises(ConnectionError):
                breaker.call(fail)

    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(work) for _ in range(threads)]:
            done.result()
    circuit = breaker.circuit
    circuit._settle()
    assert circuit._window is not None
    assert (circuit._window.calls, circuit._window.failures) == (total * 2, total)
