"""The guarded forms of a retry: what each of them repeats, returns and pays."""

import functools
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import tenacity

import prodkit as pk
from prodkit.testing import virtual_time

EXACT: dict[str, Any] = {"stop": tenacity.stop_after_attempt(3)}
"""With a strategy of tenacity the state exists from the first attempt on: another shell."""


class Service:
    """Fails as often as `failures` says before each answer."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.calls = 0

    def plain(self, value: int) -> int:
        self.calls += 1
        if self.calls <= self.failures:
            raise ConnectionError
        return value

    async def late(self, value: int) -> int:
        return self.plain(value)

    async def items(self, value: int) -> AsyncIterator[int]:
        yield self.plain(value)
        yield value + 1

    def numbers(self, value: int) -> Iterator[int]:
        yield self.plain(value)
        yield value + 1


@pytest.mark.parametrize("options", [{}, EXACT], ids=["short", "exact"])
@virtual_time
async def test_every_form_repeats_and_returns_the_answer(options: dict[str, Any]) -> None:
    retry = pk.Retry(3, wait=1, **options)
    assert await retry.run(Service(2).late, 7) == 7
    assert retry.call(Service(2).plain, 7) == 7
    assert await retry(lambda: Service(0).late(7))() == 7
    service = Service(2)
    assert await retry(lambda: service.late(7))() == 7
    assert [item async for item in retry.stream(Service(2).items, 7)] == [7, 8]
    assert [*retry(Service(2).numbers)(7)] == [7, 8]
    assert await retry.run(functools.partial(Service(2).late, 7)) == 7
    service = Service(3)
    with pytest.raises(ConnectionError) as last:
        await retry.run(service.late, 7)
    assert service.calls == 3
    assert last.value.__notes__[0].startswith("gave up after 3 attempts")


@pytest.mark.parametrize("options", [{}, EXACT], ids=["short", "exact"])
@virtual_time
async def test_a_success_pays_into_the_budget_once_and_a_repetition_out_of_it(
    options: dict[str, Any],
) -> None:
    class Account(pk.RetryBudget):
        paid, taken = 0, 0

        def deposit(self) -> None:
            self.paid += 1

        def withdraw(self, error: BaseException | None) -> bool:
            self.taken += 1
            return True

    account = Account()
    retry = pk.Retry(3, wait=0, budget=account, **options)
    await retry.run(Service(1).late, 7)
    retry.call(Service(1).plain, 7)
    assert [item async for item in retry.stream(Service(1).items, 7)] == [7, 8]
    assert [*retry(Service(1).numbers)(7)] == [7, 8]
    assert (account.paid, account.taken) == (4, 4)


@virtual_time
async def test_the_callback_answers_in_place_of_the_last_error() -> None:
    retry = pk.Retry(2, wait=0, retry_error_callback=lambda state: state.attempt_number)
    assert await retry.run(Service(9).late, 7) == 2
    assert retry.call(Service(9).plain, 7) == 2
    judged = pk.Retry(2, wait=0, result=lambda value: value == 7, retry_error_callback=lambda state: "seven")
    assert await judged.run(Service(0).late, 7) == "seven"
    assert judged.call(Service(0).plain, 7) == "seven"
    assert judged.call(Service(0).plain, 8) == 8


@virtual_time
async def test_a_stream_is_repeated_only_before_its_first_item() -> None:
    begun = 0

    async def breaks() -> AsyncIterator[int]:
        nonlocal begun
        begun += 1
        yield 1
        raise ConnectionError

    with pytest.raises(ConnectionError):
        [item async for item in pk.Retry(5, wait=0).stream(breaks)]
    assert begun == 1
