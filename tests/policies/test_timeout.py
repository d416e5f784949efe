import asyncio
from collections.abc import AsyncIterator

import pytest

import prodkit as pk
from prodkit.testing import virtual_time


def now() -> float:
    return asyncio.get_running_loop().time()


@virtual_time
async def test_the_sooner_of_limit_and_deadline_ends_it_and_says_which(up) -> None:
    with pytest.raises(pk.CallTimeoutError, match=r"^no answer within 2 s$") as ended:
        await pk.Timeout(2).run(up, "hang")
    assert type(ended.value) is pk.CallTimeoutError
    assert ended.value.timeout == 2
    assert isinstance(ended.value, TimeoutError)
    assert now() == 2
    with (
        pk.Deadline.after(1.5),
        pytest.raises(pk.DeadlineExceededError, match=r"1\.5 s into the call") as ended,
    ):
        await pk.Timeout(2).run(up, "hang")
    assert ended.value.timeout == 1.5
    assert now() == 3.5
    with pk.Deadline.after(9), pytest.raises(pk.CallTimeoutError) as ended:
        await pk.Timeout(2).run(up, "hang")
    assert type(ended.value) is pk.CallTimeoutError
    with pk.Deadline.after(3), pytest.raises(pk.DeadlineExceededError):
        await pk.Timeout(None).run(up, "hang")
    assert await pk.Timeout(None).run(up, 100) == "answer"


@virtual_time
async def test_nothing_is_started_after_the_deadline(up) -> None:
    with pk.Deadline.after(1):
        await asyncio.sleep(1)
        with pytest.raises(pk.DeadlineExceededError, match="before the call was started") as ended:
            await pk.Timeout(5).run(up)
    assert ended.value.timeout == 0.0
    assert up.calls == 0


@virtual_time
async def test_a_cancellation_from_outside_stays_one(up) -> None:
    task = asyncio.ensure_future(pk.Timeout(5).run(up, "hang"))
    await asyncio.sleep(1)
    task.cancel("the caller left")
    with pytest.raises(asyncio.CancelledError, match="the caller left"):
        await task


@virtual_time
async def test_a_cancellation_at_the_same_moment_wins(up) -> None:
    task = asyncio.ensure_future(pk.Timeout(5).run(up, "hang"))
    asyncio.get_running_loop().call_at(5, task.cancel)
    with pytest.raises(asyncio.CancelledError):
        await task


@virtual_time
async def test_nested_limits_end_at_the_one_that_came(up) -> None:
    async with asyncio.timeout(9) as outside:
        with pytest.raises(pk.CallTimeoutError, match="within 3 s"):
            await pk.Timeout(6).run(pk.Timeout(3).run, up, "hang")
        with pytest.raises(pk.CallTimeoutError, match="within 2 s"):
            await pk.Timeout(2).run(pk.Timeout(4).run, up, "hang")
        with pytest.raises(pk.CallTimeoutError, match="within 1 s"):
            await pk.Timeout(1).run(pk.Timeout(1).run, up, "hang")
    assert not outside.expired()
    assert now() == 6
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


@virtual_time
async def test_asyncio_timeouts_around_it_keep_working(up) -> None:
    with pytest.raises(TimeoutError) as ended:
        async with asyncio.timeout(1):
            await pk.Timeout(5).run(up, "hang")
    assert not isinstance(ended.value, pk.CallTimeoutError)


@virtual_time
async def test_who_answers_in_spite_of_the_cancellation_is_heard() -> None:
    async def stubborn() -> str:
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            return "partial"
        return "whole"

    async def converts() -> None:
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            raise ConnectionError("closed by cancellation") from None

    assert await pk.Timeout(1).run(stubborn) == "partial"
    with pytest.raises(ConnectionError):
        await pk.Timeout(1).run(converts)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0)


@virtual_time
async def test_on_a_stream_it_bounds_the_wait_for_each_item() -> None:
    closed = []

    async def items(*pauses: float) -> AsyncIterator[float]:
        try:
            for pause in pauses:
                await asyncio.sleep(pause)
                yield pause
        finally:
            closed.append(now())

    timeout = pk.Timeout(2)
    seen = []
    async for item in timeout.stream(items, 1, 1.5, 1):
        seen.append(item)
        await asyncio.sleep(10)  # the reader may take its time
    assert seen == [1, 1.5, 1]
    start = now()
    with pytest.raises(pk.CallTimeoutError):
        [item async for item in timeout(items)(1, 3)]
    assert closed[-1] == now() == start + 3
    with pk.Deadline.after(2.5), pytest.raises(pk.DeadlineExceededError):
        [item async for item in timeout(items)(1, 1, 1)]


def test_nonsense_is_refused() -> None:
    for wrong in (0, -1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=f"number of seconds above 0 or None, got {wrong}"):
            pk.Timeout(wrong)
    assert repr(pk.Timeout(1.5)) == "Timeout(1.5)"


@virtual_time
async def test_the_deadline_ends_a_stream_under_any_policy() -> None:
    async def endless() -> AsyncIterator[int]:
        while True:
            await asyncio.sleep(1)
            yield 1

    for policy in (pk.Retry(), pk.CircuitBreaker("b"), pk.Pipeline(), pk.Pipeline(pk.Retry(), pk.Timeout(9))):
        start = now()
        with pk.Deadline.after(2.5), pytest.raises(pk.DeadlineExceededError):
            [item async for item in policy.stream(endless)]
        assert now() == start + 2.5


@pytest.mark.parametrize("uptime", [0.0, 1e-3, 1_234.567, 86_399.1, 7_654_321.987])
@virtual_time
async def test_its_own_limit_is_never_taken_for_a_deadline_by_rounding(uptime: float) -> None:
    await asyncio.sleep(uptime)
    for seconds in (0.1, 0.3, 0.7, 1.1, 60.0):
        with pytest.raises(pk.CallTimeoutError) as late:
            await pk.Timeout(seconds).run(asyncio.sleep, 1000)
        assert type(late.value) is pk.CallTimeoutError
        assert late.value.timeout == seconds
