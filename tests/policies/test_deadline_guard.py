import asyncio
from collections.abc import AsyncIterator

import pytest

import prodkit as pk
from prodkit.policies.deadline_guard import (
    TimeLimit,
    bounded,
    deadline_for,
    ended_by_timer,
    enforces_deadline,
    limit_items,
    stream_until_deadline,
    until_deadline,
    within,
    within_deadline,
)
from prodkit.testing import virtual_time


async def answer(seconds: float = 0.0) -> str:
    await asyncio.sleep(seconds)
    return "answer"


@bounded
async def items(*waits: float) -> AsyncIterator[float]:
    for wait in waits:
        await asyncio.sleep(wait)
        yield wait


@virtual_time
async def test_the_sooner_of_limit_and_deadline_ends_the_call() -> None:
    assert await within(2, answer, (1,), {}) == "answer"
    with pytest.raises(pk.CallTimeoutError, match="no answer within 2 s") as late:
        await within(2, answer, (3,), {})
    assert late.value.timeout == 2
    with pk.Deadline.after(1), pytest.raises(pk.DeadlineExceededError) as late:
        await within(2, answer, (), {"seconds": 3})
    assert late.value.timeout == 1


@virtual_time
async def test_a_call_after_the_deadline_is_not_started() -> None:
    started: list[int] = []

    async def fn() -> None:
        started.append(1)

    with pk.Deadline.after(1):
        await asyncio.sleep(1)
        with pytest.raises(pk.DeadlineExceededError) as late:
            await within_deadline(fn, (), {})
        with pytest.raises(pk.DeadlineExceededError):
            TimeLimit(5).start()
    assert late.value.timeout == 0.0
    assert started == []


@virtual_time
async def test_the_inside_can_tell_the_timer_from_a_caller_that_left() -> None:
    seen: list[bool] = []

    async def fn() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError as error:
            seen.append(ended_by_timer(error))
            raise

    with pytest.raises(pk.CallTimeoutError):
        await within(1, fn, (), {})
    task = asyncio.ensure_future(within(9, fn, (), {}))
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == [True, False]
    assert not ended_by_timer(ValueError("other"))


@virtual_time
async def test_a_call_that_answers_in_spite_of_its_cancellation_leaves_none_pending() -> None:
    async def stubborn() -> str:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return "late answer"
        return ""

    task = asyncio.current_task()
    assert task is not None
    assert await within(1, stubborn, (), {}) == "late answer"
    assert task.cancelling() == 0
    await asyncio.sleep(0)


@virtual_time
async def test_only_the_innermost_of_nested_policies_sets_a_timer() -> None:
    inner = until_deadline(answer)
    assert enforces_deadline(inner)
    assert not enforces_deadline(answer)
    assert stream_until_deadline(items) is items
    with pk.Deadline.after(5):
        assert deadline_for(answer)() == 5
        assert deadline_for(inner)() == float("inf")
        with pytest.raises(pk.DeadlineExceededError):
            await until_deadline(inner)(9)
    assert await inner(9) == "answer"


@virtual_time
async def test_a_stream_has_the_limit_for_each_item() -> None:
    found: list[float] = []
    with pytest.raises(pk.CallTimeoutError):
        async for item in limit_items(2, items)(1, 1.5, 3):
            found.append(item)
    assert found == [1, 1.5]


@virtual_time
async def test_a_block_that_is_over_time_ends_with_the_error_in_place_of_its_cancellation() -> None:
    limit = TimeLimit(2)
    limit.start()
    try:
        await asyncio.sleep(3)
    except asyncio.CancelledError as error:
        replaced = limit.stop(error)
    assert isinstance(replaced, pk.CallTimeoutError)
    assert replaced.timeout == 2
    in_time = TimeLimit(2)
    in_time.start()
    assert in_time.stop(None) is None
    assert in_time.stop(LookupError()) is None
