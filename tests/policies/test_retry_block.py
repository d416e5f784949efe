import asyncio

import pytest

import prodkit as pk
from prodkit.testing import virtual_time


def now() -> float:
    return asyncio.get_running_loop().time()


@virtual_time
async def test_attempts_are_numbered_and_errors_swallowed_until_the_block_succeeds() -> None:
    numbers: list[int] = []
    async for attempt in pk.Retry(attempts=5, on=OSError, wait=2):
        async with attempt:
            numbers.append(attempt.number)
            if attempt.number < 3:
                raise OSError
    assert numbers == [1, 2, 3]
    assert now() == 4


@virtual_time
async def test_the_last_error_is_raised_with_a_note() -> None:
    original = OSError("the disk is gone")
    with pytest.raises(OSError, match="the disk is gone") as last:
        async for attempt in pk.Retry(attempts=2, on=OSError, wait=1):
            with attempt:
                raise original
    assert last.value is original
    assert last.value.__notes__ == ["gave up after 2 attempts in 1.0 s"]


@virtual_time
async def test_an_error_that_is_not_retried_and_a_cancellation_leave_at_once() -> None:
    for error in (KeyError("mine"), asyncio.CancelledError()):
        count = 0
        with pytest.raises(type(error)):
            async for attempt in pk.Retry(attempts=5, on=OSError, wait=2):
                async with attempt:
                    count += 1
                    raise error
        assert count == 1


@virtual_time
async def test_a_result_can_be_the_reason_for_another_attempt() -> None:
    answers = iter([None, None, "ready"])
    async for attempt in pk.Retry(attempts=5, result=lambda found: found is None, wait=1):
        async with attempt:
            answer = next(answers)
            attempt.set_result(answer)
    assert answer == "ready"
    assert now() == 2


@virtual_time
async def test_the_deadline_ends_an_attempt() -> None:
    with pk.Deadline.after(3), pytest.raises(pk.DeadlineExceededError):
        async for attempt in pk.Retry(attempts=5, on=OSError, wait=1):
            with attempt:
                await asyncio.sleep(60)
    assert now() == 3


@virtual_time
async def test_an_attempt_that_is_not_entered_is_a_mistake_that_is_named() -> None:
    with pytest.raises(RuntimeError, match="with attempt"):
        async for _ in pk.Retry(attempts=2):
            pass


def test_plain_code_repeats_without_a_loop() -> None:
    numbers: list[int] = []
    for attempt in pk.Retry(attempts=3, on=OSError, wait=0):
        with attempt:
            numbers.append(attempt.number)
            if attempt.number < 3:
                raise OSError
    assert numbers == [1, 2, 3]


async def test_an_attempt_of_plain_code_is_not_awaited() -> None:
    with pytest.raises(TypeError, match="async for"):
        for attempt in pk.Retry(attempts=2):
            async with attempt:
                pass


@virtual_time
async def test_a_budget_is_fed_by_success_and_pays_for_further_attempts() -> None:
    budget = pk.RetryBudget(ratio=0.5, floor=0, capacity=100)
    before = budget.balance
    async for attempt in pk.Retry(attempts=3, on=OSError, wait=1, budget=budget):
        async with attempt:
            if attempt.number < 2:
                raise OSError
    assert budget.balance == before - budget.price(OSError()) + 0.5


@virtual_time
async def test_the_code_behind_the_block_may_set_the_result_that_is_judged() -> None:
    tenacity = pytest.importorskip("tenacity")
    below_three = tenacity.retry_if_result(lambda number: number < 3)
    number = 0
    async for attempt in pk.Retry(attempts=5, on=below_three, wait=1):
        with attempt:
            number += 1
        if not attempt.retry_state.outcome.failed:
            attempt.retry_state.set_result(number)
    assert number == 3
    number = 0
    async for attempt in pk.Retry(attempts=5, result=lambda number: number < 3, wait=1):
        async with attempt:
            number += 1
        attempt.set_result(number)
    assert number == 3
    assert now() == 4


def test_in_plain_code_too_and_after_a_failed_attempt_its_outcome_is_there_to_see() -> None:
    tenacity = pytest.importorskip("tenacity")
    rule = tenacity.retry_if_exception_type(OSError) | tenacity.retry_if_result(lambda number: number < 4)
    outcomes: list[bool] = []
    number = 0
    for attempt in pk.Retry(attempts=9, on=rule, wait=0):
        with attempt:
            number += 1
            if number < 3:
                raise OSError
        outcomes.append(attempt.retry_state.outcome.failed)
        if not outcomes[-1]:
            attempt.retry_state.set_result(number)
    assert outcomes == [True, True, False, False]
    assert number == 4


def test_a_judged_block_that_leaves_the_loop_has_succeeded() -> None:
    budget = pk.RetryBudget()
    budget.withdraw(None)
    before = budget.balance

    def first() -> int:
        for attempt in pk.Retry(attempts=5, result=lambda found: found is None, wait=0, budget=budget):
            with attempt:
                return attempt.number
        raise AssertionError

    assert first() == 1
    assert budget.balance >= before
