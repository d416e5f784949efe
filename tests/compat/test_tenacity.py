"""tenacity's names with prodkit's decisions. Its own suite: ``python tools/peer_suites.py tenacity CHECKOUT``."""

import asyncio
import warnings
from typing import Any

import pytest
import tenacity as original

import prodkit as pk
from prodkit.compat import tenacity
from prodkit.policies.events import RetryGaveUp, RetryScheduled
from prodkit.testing import virtual_time


class Boom(Exception):
    pass


def test_every_name_of_tenacity_is_there() -> None:
    for name in original.__all__:
        assert hasattr(tenacity, name), name
    assert tenacity.RetryError is original.RetryError
    assert tenacity.retry is not original.retry
    assert issubclass(tenacity.Retrying, original.Retrying)


@virtual_time
async def test_it_retries_as_tenacity_does() -> None:
    calls = 0

    @tenacity.retry(stop=tenacity.stop_after_attempt(3), wait=tenacity.wait_fixed(2))
    async def ask() -> None:
        nonlocal calls
        calls += 1
        raise Boom

    with pytest.raises(tenacity.RetryError):
        await ask()
    assert (calls, asyncio.get_running_loop().time()) == (3, 4)
    assert ask.statistics["attempt_number"] == 3

    @tenacity.retry
    def plain() -> str:
        return "fine"

    assert plain() == "fine"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        tenacity.retry(tenacity.retry_if_exception_type(Boom))
    assert "did you mean" in str(caught[0].message)


@virtual_time
async def test_rejections_deadlines_budgets_and_marks() -> None:
    options: Any = {"stop": tenacity.stop_after_attempt(5), "reraise": True}
    calls = 0

    async def fail(error: Exception) -> None:
        nonlocal calls
        calls += 1
        raise error

    async def count(error: Exception, **more: Any) -> int:
        nonlocal calls
        calls = 0
        with pytest.raises(type(error)):
            await tenacity.AsyncRetrying(**{**options, **more})(fail, error)
        return calls

    assert await count(Boom()) == 5
    assert await count(pk.CircuitOpenError("open")) == 1
    named = tenacity.retry_if_exception_type(pk.RejectedError)
    assert await count(pk.CircuitOpenError("open"), retry=named) == 5
    assert await count(Boom(), budget=pk.RetryBudget(0, floor=0, capacity=4)) == 3
    with pk.Deadline.after(1):
        assert await count(Boom(), wait=tenacity.wait_fixed(2)) == 1
    with pk.Deadline.after(1), pytest.raises(pk.DeadlineExceededError):
        await tenacity.AsyncRetrying(**options)(asyncio.sleep, 9)

    @pk.policies.non_idempotent
    async def pay() -> None:
        nonlocal calls
        calls += 1
        raise Boom

    calls = 0
    with pytest.raises(Boom):
        await tenacity.AsyncRetrying(**options)(pay)
    assert calls == 1
    with pk.policies.off():
        assert await count(Boom()) == 1


def test_events() -> None:
    runtime, seen = pk.Runtime(), []
    runtime.events.subscribe(seen.append)

    @tenacity.retry(stop=tenacity.stop_after_attempt(2), runtime=runtime)
    def ask() -> None:
        raise Boom

    with pytest.raises(tenacity.RetryError):
        ask()
    name = "test_events.<locals>.ask"
    assert seen == [
        RetryScheduled(call=name, attempt=1, error="Boom", wait=0.0),
        RetryGaveUp(call=name, attempt=2, error="Boom", reason="stop"),
    ]


def test_blocks() -> None:
    calls = 0
    for attempt in tenacity.Retrying(stop=tenacity.stop_after_attempt(3)):
        with attempt:
            calls += 1
            if calls < 3:
                raise Boom
    assert calls == 3


@virtual_time
async def test_successes_earn_what_further_attempts_cost() -> None:
    budget = pk.RetryBudget(1, floor=0, capacity=12)

    @tenacity.retry(budget=budget)
    async def ask() -> int:
        return 1

    @tenacity.retry(budget=budget)
    def ask_plainly() -> int:
        return 1

    assert (await ask(), budget.balance) == (1, 7)
    assert (ask_plainly(), budget.balance) == (1, 8)
    for attempt in tenacity.Retrying(budget=budget):
        with attempt:
            pass
    assert budget.balance == 9

    @tenacity.retry(
        budget=budget,
        retry=tenacity.retry_if_result(lambda result: result == 1),
        stop=tenacity.stop_after_attempt(2),
    )
    def never_right() -> int:
        return 1

    with pytest.raises(tenacity.RetryError):
        never_right()
    assert budget.balance == 8  # a result to retry after is no success


def test_a_runtime_without_policies_repeats_nothing() -> None:
    calls = 0

    @tenacity.retry(stop=tenacity.stop_after_attempt(3), reraise=True, runtime=pk.Runtime(policies="off"))
    def ask() -> None:
        nonlocal calls
        calls += 1
        raise Boom

    with pytest.raises(Boom):
        ask()
    assert calls == 1


@virtual_time
async def test_a_policys_run_is_awaited_and_repeated() -> None:
    calls = 0

    async def ask() -> int:
        nonlocal calls
        calls += 1
        if calls < 3:
            raise Boom
        return calls

    breaker = pk.CircuitBreaker("b")
    assert await tenacity.AsyncRetrying(stop=tenacity.stop_after_attempt(3))(breaker.run, ask) == 3
    calls = 0
    marked = pk.policies.non_idempotent(ask)
    with pytest.raises(Boom):
        await tenacity.AsyncRetrying(stop=tenacity.stop_after_attempt(3), reraise=True)(breaker.run, marked)
    assert calls == 1
