"""One suite over all forms of a guarded call: run, call, decorator, stream, and the blocks, over the same state."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest

import prodkit as pk
from prodkit import policies
from prodkit.policies import Policy
from prodkit.testing import virtual_time

Form = Callable[[Policy, Callable[[], Awaitable[Any]]], Awaitable[Any]]


class Boom(Exception):
    pass


async def by_run(policy: Policy, fn: Callable[[], Awaitable[Any]]) -> Any:
    return await policy.run(fn)


async def by_decorator(policy: Policy, fn: Callable[[], Awaitable[Any]]) -> Any:
    async def plain() -> Any:
        return await fn()

    return await policy(plain)()


async def by_block(policy: Policy, fn: Callable[[], Awaitable[Any]]) -> Any:
    async with policy:
        return await fn()


async def by_calling(policy: Policy, fn: Callable[[], Awaitable[Any]]) -> Any:
    async with policy.calling():
        return await fn()


async def by_stream(policy: Policy, fn: Callable[[], Awaitable[Any]]) -> Any:
    async def items() -> AsyncIterator[Any]:
        yield await fn()

    (item,) = [item async for item in policy.stream(items)]
    return item


FORMS = [by_run, by_decorator, by_block, by_calling, by_stream]
forms = pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)


async def fine() -> str:
    return "fine"


async def broken() -> None:
    raise Boom("original")


@forms
@virtual_time
async def test_a_breaker_opens_and_recovers(form: Form) -> None:
    breaker = pk.CircuitBreaker("b", failures=2, open_for=10)
    assert await form(breaker, fine) == "fine"
    for _ in range(2):
        with pytest.raises(Boom, match="original"):
            await form(breaker, broken)
    with pytest.raises(pk.CircuitOpenError):
        await form(breaker, fine)
    await asyncio.sleep(10)
    assert breaker.state == "half_open"
    assert await form(breaker, fine) == "fine"
    assert breaker.state == "closed"
    assert breaker.statistics.openings == 1
    assert breaker.statistics.rejected == 1


@forms
@virtual_time
async def test_a_cancelled_call_gives_its_probe_back(form: Form) -> None:
    breaker = pk.CircuitBreaker("b", failures=1, open_for=1)
    with pytest.raises(Boom):
        await form(breaker, broken)
    await asyncio.sleep(1)
    task = asyncio.ensure_future(form(breaker, lambda: asyncio.sleep(50)))
    await asyncio.sleep(0.1)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert await form(breaker, fine) == "fine"


@forms
@virtual_time
async def test_a_bulkhead_queues_and_refuses(form: Form) -> None:
    bulkhead = policies.Bulkhead(1, max_queue=1, order="fifo")
    running = [asyncio.ensure_future(form(bulkhead, lambda: asyncio.sleep(1, "late"))) for _ in range(2)]
    await asyncio.sleep(0.5)
    assert (bulkhead.inflight, bulkhead.waiting) == (1, 1)
    with pytest.raises(pk.BulkheadFullError):
        await form(bulkhead, fine)
    assert await asyncio.gather(*running) == ["late", "late"]
    assert (bulkhead.inflight, bulkhead.waiting) == (0, 0)


@forms
@virtual_time
async def test_the_deadline_cancels_what_runs(form: Form) -> None:
    breaker = pk.CircuitBreaker("b", failures=1)
    with pk.Deadline.after(1), pytest.raises(pk.DeadlineExceededError):
        await form(breaker, lambda: asyncio.sleep(50))
    assert asyncio.get_running_loop().time() == 1
    assert breaker.state == "open"
    assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]


@forms
@virtual_time
async def test_a_timeout_ends_the_call(form: Form) -> None:
    with pytest.raises(pk.CallTimeoutError, match="no answer within 2 s"):
        await form(pk.Timeout(2), lambda: asyncio.sleep(50))
    assert await form(pk.Timeout(2), fine) == "fine"


@forms
@virtual_time
async def test_a_gate_closes_and_paces(form: Form) -> None:
    gate = policies.RetryAfterGate(margin=0)

    async def throttled() -> None:
        error = Boom()
        error.retry_after = 5  # type: ignore[attr-defined]
        raise error

    with pytest.raises(Boom):
        await form(gate, throttled)
    assert await form(gate, fine) == "fine"
    assert asyncio.get_running_loop().time() == 5


@forms
@virtual_time
async def test_a_pipeline(form: Form) -> None:
    breaker, bulkhead = pk.CircuitBreaker("b", failures=1), policies.Bulkhead(3)
    pipeline = pk.Pipeline(breaker, bulkhead, pk.Timeout(1))
    assert await form(pipeline, fine) == "fine"
    with pytest.raises(pk.CallTimeoutError):
        await form(pipeline, lambda: asyncio.sleep(9))
    with pytest.raises(pk.CircuitOpenError):
        await form(pipeline, fine)
    assert bulkhead.inflight == 0


async def for_with(retry: Any, fn: Callable[[], Awaitable[Any]]) -> Any:
    async for attempt in retry:
        with attempt:
            return await fn()
    raise AssertionError("the loop ended without an answer")


async def for_async_with(retry: Any, fn: Callable[[], Awaitable[Any]]) -> Any:
    async for attempt in retry:
        async with attempt:
            return await fn()
    raise AssertionError("the loop ended without an answer")


repeats = pytest.mark.parametrize("form", [by_run, by_decorator, by_stream, for_with, for_async_with])


def failing(times: int) -> Any:
    left = [Boom("original")] * times

    async def fn() -> str:
        fn.calls += 1  # type: ignore[attr-defined]
        if left:
            raise left.pop()
        return "fine"

    fn.calls = 0  # type: ignore[attr-defined]
    return fn


@repeats
@virtual_time
async def test_a_retry_repeats(form: Form) -> None:
    fn, loop = failing(2), asyncio.get_running_loop()
    assert await form(pk.Retry(3, wait=policies.exponential(1)), fn) == "fine"
    assert (fn.calls, loop.time()) == (3, 3)
    fn = failing(5)
    with pytest.raises(Boom, match="original") as gave_up:
        await form(pk.Retry(3, wait=1), fn)
    assert fn.calls == 3
    assert gave_up.value.__notes__[0].startswith("gave up after 3 attempts")


@repeats
@virtual_time
async def test_a_retry_pays_from_its_budget_and_keeps_the_deadline(form: Form) -> None:
    budget = policies.RetryBudget(0, floor=0, capacity=2)  # one retry
    fn = failing(5)
    with pytest.raises(Boom):
        await form(pk.Retry(5, wait=0, budget=budget), fn)
    assert fn.calls == 2
    fn = failing(5)
    with pk.Deadline.after(1), pytest.raises(Boom):
        await form(pk.Retry(5, wait=2), fn)
    assert fn.calls == 1
    with pk.Deadline.after(1), pytest.raises(pk.DeadlineExceededError):
        await form(pk.Retry(5), lambda: asyncio.sleep(9))


@repeats
@virtual_time
async def test_only_the_outer_retry_repeats(form: Form) -> None:
    fn = failing(9)
    with pytest.raises(Boom):
        await form(pk.Retry(2, wait=0), lambda: form(pk.Retry(3, wait=0), fn))
    assert fn.calls in (
        2,
        4,
    )  # in a first attempt by `run` the inner one does not see the outer one's frame as its own
    if form in (for_with, for_async_with, by_run):
        assert fn.calls == 2
    fn = failing(2)
    assert await form(pk.Retry(3, wait=0), fn) == "fine", "a mark was left behind"


@virtual_time
async def test_a_retried_block_holds_the_permits_of_the_pipeline() -> None:
    breaker = pk.CircuitBreaker("b", failures=3)
    pipeline = pk.Pipeline(pk.Retry(5, wait=0), breaker, policies.Bulkhead(1), pk.Timeout(1))
    fn = failing(9)
    with pytest.raises(pk.CircuitOpenError):
        async for attempt in pipeline:
            async with attempt:
                await fn()
    assert fn.calls == 3


@virtual_time
async def test_a_result_is_judged_and_async_strategies_are_awaited() -> None:
    async def empty(result: Any) -> bool:
        await asyncio.sleep(0.5)
        return result is None

    numbers = []
    async for attempt in pk.Retry(4, result=empty, wait=1):
        with attempt:
            numbers.append(attempt.number)
            attempt.set_result(None if attempt.number < 3 else "there")
    assert numbers == [1, 2, 3]
    assert asyncio.get_running_loop().time() == 3.5


def test_blocks_of_plain_code() -> None:
    breaker, bulkhead = pk.CircuitBreaker("b", failures=2), policies.Bulkhead(1)
    with breaker:
        pass
    for _ in range(2):
        with pytest.raises(Boom), breaker.calling():
            raise Boom
    with pytest.raises(pk.CircuitOpenError), breaker:
        pass
    with bulkhead, pytest.raises(pk.BulkheadFullError), bulkhead:
        pass
    assert bulkhead._threads.inflight == 0
    calls = 0
    for attempt in pk.Retry(3, wait=0):
        with attempt:
            calls += 1
            if calls < 3:
                raise Boom
    assert calls == 3
    with pytest.raises(Boom):
        for attempt in pk.Retry(2, wait=0):
            with attempt:
                raise Boom


def test_what_a_block_cannot_do_is_refused() -> None:
    for policy, sentence in (
        (pk.Hedge(1), "Hedge cannot guard a block, which runs only once"),
        (pk.Fallback(0, on=KeyError), "Fallback cannot guard a block"),
        (pk.Retry(), "Retry repeats a block: write `for attempt in retry"),
        (pk.Timeout(1), "Timeout needs `async with`"),
        (policies.RetryAfterGate(), "Gate needs `async with`"),
        (policies.AdaptiveLimit(), "AdaptiveLimit needs `async with`"),
    ):
        with pytest.raises(TypeError, match=sentence), policy:
            pass
    block = pk.CircuitBreaker("b").calling()
    with block:
        pass
    with pytest.raises(RuntimeError, match="used already"), block:
        pass
    with pytest.raises(RuntimeError, match="the attempt was not entered"):
        for _ in pk.Retry(3):
            pass
    with pytest.raises(TypeError, match="first policy is a Retry"):
        iter(pk.Pipeline(pk.CircuitBreaker("b")))


def test_generators_are_guarded_while_they_run() -> None:
    breaker = pk.CircuitBreaker("b", failures=2)
    calls = 0

    def items(fail: bool) -> Iterator[int]:
        nonlocal calls
        calls += 1
        if fail:
            raise Boom
        yield from (1, 2, 3)

    assert list(breaker(items)(False)) == [1, 2, 3]
    for _ in range(2):
        with pytest.raises(Boom):
            list(breaker(items)(True))
    with pytest.raises(pk.CircuitOpenError):
        list(breaker(items)(False))
    calls = 0
    with pytest.raises(Boom):
        list(pk.Retry(3, wait=0)(items)(True))
    assert calls == 3
    assert list(pk.Pipeline(pk.Retry(3), policies.Bulkhead(1))(items)(False)) == [1, 2, 3]


@virtual_time
async def test_policies_can_be_switched_off() -> None:
    off = pk.Runtime(policies="off")
    fn = failing(1)
    retry = pk.Retry(3, runtime=off)
    with pytest.raises(Boom):
        await retry.run(fn)
    assert fn.calls == 1
    breaker = pk.CircuitBreaker("b", failures=1, runtime=off)
    for _ in range(3):
        with pytest.raises(Boom):
            await breaker.run(broken)
    async with breaker:
        pass
    breaker, fn = pk.CircuitBreaker("b", failures=1), failing(2)
    guarded = pk.Pipeline(pk.Retry(3), breaker)(fn)
    with policies.off():
        for _ in range(2):
            with pytest.raises(Boom):
                await guarded()
        assert await guarded() == "fine"
    assert breaker.state == "closed"


@pytest.mark.usefixtures("policies_off")
def test_the_fixture_switches_them_off() -> None:
    calls = 0

    def fail() -> None:
        nonlocal calls
        calls += 1
        raise Boom

    with pytest.raises(Boom):
        pk.Retry(3).call(fail)
    assert calls == 1


def test_interleaved_generators_leave_their_own_policies() -> None:
    first, second = (pk.CircuitBreaker(name, failures=3) for name in ("first", "second"))

    def items(policy: Policy) -> Iterator[int]:
        with policy:
            yield 1
        yield 2

    one, other = items(first), items(second)
    assert (next(one), next(other)) == (1, 1)
    with pytest.raises(Boom):
        one.throw(Boom())  # type: ignore[attr-defined]
    assert next(other) == 2
    assert (first.statistics.failures, second.statistics.failures) == (1, 0)


@virtual_time
async def test_a_block_may_be_left_by_another_task_than_entered_it() -> None:
    bulkhead = pk.Bulkhead(1)
    async with contextlib.AsyncExitStack() as outer:
        stack = contextlib.AsyncExitStack()
        await asyncio.create_task(stack.enter_async_context(bulkhead))
        outer.push_async_callback(stack.aclose)
        assert bulkhead.inflight == 1
        await asyncio.create_task(stack.aclose())
        assert bulkhead.inflight == 0
        async with bulkhead:
            assert bulkhead.inflight == 1
    assert bulkhead.inflight == 0


@virtual_time
async def test_a_context_that_kept_a_block_left_elsewhere_goes_on() -> None:
    breaker = pk.CircuitBreaker("b", failures=2)
    await breaker.__aenter__()
    await asyncio.create_task(breaker.__aexit__(None, None, None))
    with pytest.raises(Boom):
        async with breaker:
            raise Boom
    assert breaker.statistics.failures == 1


def test_a_with_that_was_never_entered_cannot_be_left() -> None:
    with pytest.raises(RuntimeError, match="no `with` has entered it"):
        pk.CircuitBreaker("b").__exit__(None, None, None)
