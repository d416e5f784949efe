"""The counts of the last call: with tenacity's keys, for each thread and for each function."""

import gc
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import prodkit as pk
from prodkit.core.clock import LoopClock
from prodkit.policies.retry_statistics import RetryStatistics
from prodkit.testing import virtual_time


def failing(times: int) -> Callable[[], str]:
    """Return a function that fails as often as this, in each round of calls that ends with an answer."""
    left = [times]

    def fn() -> str:
        if left[0]:
            left[0] -= 1
            raise ConnectionError
        left[0] = times
        return "answer"

    return fn


def late(times: int) -> Callable[[], Awaitable[str]]:
    fn = failing(times)

    async def late() -> str:
        return fn()

    return late


def attempts(counts: Any) -> int:
    return counts["attempt_number"]  # type: ignore[no-any-return]


@virtual_time
async def test_they_are_empty_before_the_first_call_and_filled_by_each() -> None:
    retry = pk.Retry(attempts=5, wait=2)
    fn: Any = retry(late(3))
    assert fn.statistics == {}
    assert retry.statistics == {}
    await fn()
    assert (attempts(fn.statistics), fn.statistics["idle_for"]) == (4, 6)
    assert fn.statistics["delay_since_first_attempt"] == 4
    quick: Any = retry(late(0))
    await quick()
    assert attempts(quick.statistics) == 1
    assert quick.statistics["idle_for"] == 0
    assert set(quick.statistics) == set(fn.statistics)
    assert len(quick.statistics) == 4
    assert repr(quick.statistics) == repr(dict(quick.statistics))
    assert attempts(fn.statistics) == 4  # of its own last call
    assert attempts(retry.statistics) == 1  # of the last call of all


async def test_a_call_that_succeeds_at_once_replaces_the_counts_of_the_one_before() -> None:
    retry = pk.Retry(attempts=5, wait=0)
    for form in (retry.run, lambda fn: retry(fn)()):
        await form(late(2))
        assert attempts(retry.statistics) == 3
        await form(late(0))
        assert attempts(retry.statistics) == 1
    fn: Any = retry(late(1))
    await fn()
    other: Any = retry(late(0))
    await other()
    await other()
    assert (attempts(fn.statistics), attempts(other.statistics), attempts(retry.statistics)) == (2, 1, 1)
    await fn()
    await other()  # had nothing to record any more, until `fn` failed
    assert attempts(retry.statistics) == 1


def test_plain_functions_blocks_and_generators_count_too() -> None:
    retry = pk.Retry(attempts=5, wait=0)
    retry.call(failing(1))
    assert attempts(retry.statistics) == 2
    retry.call(failing(0))
    assert attempts(retry.statistics) == 1
    fn = failing(2)
    for attempt in retry:
        with attempt:
            fn()
    assert attempts(retry.statistics) == 3
    fn = failing(1)

    def items() -> Any:
        yield fn()

    numbers: Any = retry(items)
    assert [*numbers()] == ["answer"]
    assert attempts(numbers.statistics) == 2
    fn = failing(0)
    assert [*numbers()] == ["answer"]
    assert attempts(numbers.statistics) == 1


def test_each_thread_sees_its_own() -> None:
    retry = pk.Retry(attempts=5, wait=0)
    retry.call(failing(2))
    seen: list[Any] = []

    def elsewhere() -> None:
        seen.append(dict(retry.statistics))
        retry.call(failing(1))
        seen.append(attempts(retry.statistics))
        retry.call(failing(0))
        seen.append(attempts(retry.statistics))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert seen == [{}, 2, 1]
    assert attempts(retry.statistics) == 3
    retry.call(failing(0))
    assert attempts(retry.statistics) == 1
    assert not retry.statistics.pending


def test_a_thread_that_ended_with_counts_delays_nobody_for_ever() -> None:
    counts = RetryStatistics(LoopClock())
    thread = threading.Thread(target=counts.begin, args=(1.0,))
    thread.start()
    thread.join()
    counts.succeeded()
    counts.begin(2.0)
    assert counts["start_time"] == 2.0
    counts.succeeded()
    assert not counts.pending


def test_a_strategy_of_tenacity_changes_nothing_about_them() -> None:
    tenacity = pytest.importorskip("tenacity")
    retry = pk.Retry(attempts=None, stop=tenacity.stop_after_attempt(3), wait=0)
    fn: Any = retry(failing(2))
    fn()
    assert attempts(fn.statistics) == attempts(retry.statistics) == 3
    changed = fn.retry_with(wait=0)
    assert changed.statistics == {}


def test_functions_that_are_gone_leave_nothing_behind() -> None:
    retry = pk.Retry(attempts=2)
    for _ in range(100):
        retry(lambda: 1)()
    gc.collect()
    assert len(retry.statistics._parts) == 0
