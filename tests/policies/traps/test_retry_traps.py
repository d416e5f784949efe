"""The ways in which retries and timeouts were found to fail, each with some library in use."""

import asyncio
import email.utils
import functools
import gc
import weakref
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import tenacity

import prodkit as pk
from prodkit.policies import non_idempotent
from prodkit.testing import virtual_time


def elapsed() -> float:
    return asyncio.get_running_loop().time()


@virtual_time
async def test_a_cancelled_attempt_is_not_tried_again_whatever_the_strategy_says(up) -> None:
    """tenacity swallows this timeout: its retry_if_not_exception_type takes the cancellation for an error."""
    retry = pk.Retry(attempts=5, on=tenacity.retry_if_not_exception_type(up.Business), wait=1)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.03):
            await retry.run(up, "hang")
    assert up.calls == 1
    assert elapsed() == 0.03


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_an_interrupt_is_not_tried_again(stop: type[BaseException]) -> None:
    calls = []

    def interrupted() -> None:
        calls.append(1)
        raise stop

    with pytest.raises(stop):
        pk.Retry(attempts=3, on=tenacity.retry_always, wait=0).call(interrupted)
    assert len(calls) == 1


@virtual_time
async def test_the_waits_fit_into_the_deadline(up) -> None:
    """Attempts of 50 ms, waits of 0.1 and 0.2 s, and 0.3 s in all: a second wait would pass the end."""

    async def attempt() -> None:
        await asyncio.sleep(0.05)
        await up("bad")

    retry = pk.Retry(attempts=10, wait=tenacity.wait_exponential(0.1))
    with pk.Deadline.after(0.3), pytest.raises(up.Boom) as raised:
        await retry.run(attempt)
    assert elapsed() <= 0.3
    assert up.calls == 2
    assert raised.value.__notes__ == ["gave up after 2 attempts in 0.2 s (deadline)"]


@virtual_time
async def test_an_attempt_is_cancelled_at_the_deadline_and_awaited() -> None:
    cleaned = []

    async def slow() -> None:
        try:
            await asyncio.sleep(1)
        finally:
            await asyncio.sleep(0.01)
            cleaned.append(elapsed())

    for guard in (
        pk.Retry(attempts=5),
        pk.CircuitBreaker("x"),
        pk.CircuitBreaker("y", slow_after=1, slow_call_rate=1.0),
        pk.Timeout(60),
        pk.Pipeline(),
        pk.Pipeline(pk.Retry(), pk.CircuitBreaker("z"), pk.Timeout(60)),
    ):
        start = elapsed()
        cleaned.clear()
        with pk.Deadline.after(0.3), pytest.raises(pk.DeadlineExceededError) as raised:
            await guard.run(slow)
        assert raised.value.timeout == pytest.approx(0.3)
        assert cleaned == [pytest.approx(start + 0.31)]


@virtual_time
async def test_one_timer_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, timers = asyncio.get_running_loop(), []
    call_at = loop.call_at

    def counted(when: float, *rest: Any, **more: Any) -> Any:
        timers.append(when)
        return call_at(when, *rest, **more)

    async def quick() -> int:
        return 1

    monkeypatch.setattr(loop, "call_at", counted)
    whole = pk.Pipeline(pk.Retry(), pk.CircuitBreaker("z"), pk.Timeout(60))
    await whole.run(quick)
    assert timers == [60]
    timers.clear()
    with pk.Deadline.after(5):
        await whole.run(quick)
    assert timers == [5]
    timers.clear()
    await pk.Pipeline(pk.Retry(), pk.CircuitBreaker("z")).run(quick)
    assert timers == []


@virtual_time
async def test_a_stream_is_not_begun_again_after_its_first_item() -> None:
    begun = []

    async def items(fail_at: int) -> AsyncIterator[int]:
        begun.append(1)
        for number in range(4):
            if number == fail_at and len(begun) == 1:
                raise ConnectionError
            yield number

    retry, seen = pk.Retry(attempts=3, wait=1), []
    with pytest.raises(ConnectionError):
        async for item in retry.stream(items, 2):
            seen.append(item)
    assert seen == [0, 1]
    begun.clear()
    assert [item async for item in retry(items)(0)] == [0, 1, 2, 3]
    assert len(begun) == 2
    assert elapsed() == 1


@virtual_time
async def test_what_only_turns_out_to_be_async_is_tried_again_too(up) -> None:
    async def plain(mode: str) -> Any:
        return await up(mode)

    class Client:
        async def fetch(self, mode: str) -> Any:
            return await up(mode)

        @pk.Retry(attempts=3, wait=1)
        async def decorated(self, mode: str) -> Any:
            return await up(mode)

    for form in (
        lambda: plain("bad"),
        functools.partial(plain, "bad"),
        functools.partial(functools.partial(up), mode="bad"),
        functools.partial(up, "bad"),
        functools.partial(Client().fetch, "bad"),
        lambda: up("bad"),
    ):
        for guarded in (
            pk.Retry(attempts=3, wait=1)(form),
            functools.partial(pk.Retry(attempts=3, wait=1).run, form),
            pk.Pipeline(pk.Retry(attempts=3, wait=1), pk.CircuitBreaker("x", failures=9))(form),
        ):
            up.calls = 0
            with pytest.raises(up.Boom):
                await guarded()
            assert up.calls == 3
    up.calls = 0
    with pytest.raises(up.Boom):
        await Client().decorated("bad")
    assert up.calls == 3


@virtual_time
async def test_a_failed_call_leaves_no_reference_cycle(up) -> None:
    whole = pk.Pipeline(pk.Retry(attempts=3, wait=1), pk.CircuitBreaker("x", failures=99), pk.Timeout(5))
    alone, strategic = pk.Retry(attempts=2, wait=0), pk.Retry(attempts=2, wait=tenacity.wait_fixed(0))
    gc.collect()
    gc.disable()
    try:
        for guard in (alone, strategic, whole, pk.CircuitBreaker("y", failures=99)):
            seen = []

            async def failing() -> None:
                error = up.Boom("x")
                seen.append(weakref.ref(error))  # noqa: B023 - called within this turn
                del error
                await up("bad")

            for _ in range(5):
                try:
                    await guard.run(failing)
                except up.Boom as error:
                    seen.append(weakref.ref(error))
            assert [ref for ref in seen if ref() is not None] == []
    finally:
        gc.enable()


def test_a_failed_sync_call_leaves_no_reference_cycle(up) -> None:
    gc.collect()
    gc.disable()
    try:
        for guard in (pk.Retry(attempts=3, wait=0), pk.CircuitBreaker("y", failures=99)):
            seen = []

            def failing() -> None:
                raise up.Boom("x")

            for _ in range(5):
                try:
                    guard.call(failing)
                except up.Boom as error:
                    seen.append(weakref.ref(error))
            assert [ref for ref in seen if ref() is not None] == []
    finally:
        gc.enable()


@virtual_time
async def test_no_attempt_and_no_wait_is_spent_on_an_open_breaker(up) -> None:
    breaker = pk.CircuitBreaker("x")
    breaker.isolate()
    with pytest.raises(pk.CircuitOpenError):
        await pk.Pipeline(pk.Retry(attempts=5), breaker).run(up)
    assert elapsed() == 0
    assert up.calls == 0


class Throttled(Exception):
    def __init__(self, retry_after: object) -> None:
        super().__init__("429")
        self.retry_after = retry_after


@virtual_time
async def test_retry_after_in_every_form_is_waited_for() -> None:
    runtime = pk.Runtime()
    date = email.utils.format_datetime(runtime.clock.now() + timedelta(seconds=30), usegmt=True)
    for hint, least, most in ((2, 2, 2), ("3", 3, 3), (timedelta(seconds=4), 4, 4), (date, 28, 30)):
        start, hints = elapsed(), [hint]

        async def throttled() -> None:
            if hints:  # noqa: B023 - called within this turn
                raise Throttled(hints.pop())  # noqa: B023

        await pk.Retry(attempts=2, wait=0.1).run(throttled)
        assert least <= elapsed() - start <= most


@virtual_time
async def test_a_retry_after_of_days_neither_freezes_the_caller_nor_is_cut_short() -> None:
    async def throttled() -> None:
        raise Throttled(3.2 * 86_400)

    with pytest.raises(Throttled) as raised:
        await pk.Retry(attempts=5, max_wait=120).run(throttled)
    assert elapsed() == 0
    assert raised.value.__notes__ == ["gave up after 1 attempt (retry_after beyond max_wait)"]


@virtual_time
async def test_a_wait_of_exactly_max_wait_is_waited() -> None:
    hints = [60]

    async def throttled() -> None:
        if hints:
            raise Throttled(hints.pop())

    await pk.Retry(attempts=2).run(throttled)
    assert elapsed() == 60


@virtual_time
async def test_nested_retries_do_not_multiply(up) -> None:
    inner = pk.Retry(attempts=3, wait=1)(up)
    outer = pk.Retry(attempts=3, wait=1)

    async def through_layers(mode: str) -> Any:
        return await inner(mode)

    async def through_timeout(mode: str) -> Any:
        async with asyncio.timeout(100):
            return await inner(mode)

    for form in (inner, through_layers, through_timeout, functools.partial(pk.Timeout(9).run, inner)):
        up.calls = 0
        with pytest.raises(up.Boom):
            await outer.run(form, "bad")
        assert up.calls == 3


@virtual_time
async def test_an_inner_retry_may_insist(up) -> None:
    inner = pk.Retry(attempts=2, wait=1, nested=True)(up)
    with pytest.raises(up.Boom):
        await pk.Retry(attempts=3, wait=1).run(inner, "bad")
    assert up.calls == 6


@virtual_time
async def test_nested_retries_in_tasks_of_a_repeated_attempt_do_not_multiply(up) -> None:
    inner = pk.Retry(attempts=4, wait=1)(up)

    async def fan_out() -> None:
        await asyncio.gather(inner("bad"), inner("bad"))

    with pytest.raises(up.Boom):
        await pk.Retry(attempts=3, wait=10).run(fan_out)
    assert up.calls <= 8 + 2 + 2


@virtual_time
async def test_work_that_outlives_a_retry_is_free_to_retry(up) -> None:
    inner = pk.Retry(attempts=3, wait=1)(up)
    left: list[asyncio.Task[Any]] = []

    async def starts_something() -> None:
        if not left:
            left.append(asyncio.ensure_future(asyncio.sleep(0)))
            raise ConnectionError
        left.append(asyncio.ensure_future(later()))

    async def later() -> Any:
        await asyncio.sleep(10)
        return await inner("bad")

    await pk.Retry(attempts=2, wait=0).run(starts_something)
    with pytest.raises(up.Boom):
        await left[1]
    assert up.calls == 3


def test_nested_sync_retries_do_not_multiply() -> None:
    calls = []

    @pk.Retry(attempts=3, wait=0)
    def inner() -> None:
        calls.append(1)
        raise ConnectionError

    with pytest.raises(ConnectionError):
        pk.Retry(attempts=3, wait=0).call(inner)
    assert len(calls) == 3


@virtual_time
async def test_what_is_not_idempotent_is_repeated_only_when_it_cannot_have_been_sent() -> None:
    sent, errors = [], [TimeoutError("sent, no answer")]

    @non_idempotent
    async def pay(amount: int) -> str:
        sent.append(amount)
        if errors:
            raise errors.pop()
        return "paid"

    retry = pk.Retry(attempts=3, wait=1)
    whole = pk.Pipeline(pk.Retry(attempts=3, wait=1), pk.CircuitBreaker("bank"), pk.Timeout(5))
    for guard in (retry, whole):
        for form in (guard(pay), functools.partial(guard.run, pay), guard(functools.partial(pay))):
            for error, attempts in (
                (TimeoutError("sent, no answer"), 1),
                (ConnectionRefusedError("not sent"), 2),
            ):
                sent.clear()
                errors[:] = [error]
                if attempts == 1:
                    with pytest.raises(TimeoutError) as raised:
                        await form(7)
                    assert raised.value.__notes__ == ["gave up after 1 attempt (not idempotent)"]
                else:
                    assert await form(7) == "paid"
                assert sent == [7] * attempts


@virtual_time
async def test_idempotent_false_marks_all_calls(up) -> None:
    with pytest.raises(up.Boom):
        await pk.Retry(attempts=3, idempotent=False).run(up, "bad")
    assert up.calls == 1


@virtual_time
async def test_an_error_may_say_that_nothing_was_sent(up) -> None:
    class NotSent(Exception):
        sent = False

    async def fails() -> None:
        up.calls += 1
        raise NotSent

    with pytest.raises(NotSent):
        await pk.Retry(attempts=3, wait=0, idempotent=False).run(fails)
    assert up.calls == 3


@virtual_time
async def test_our_own_timeout_and_a_caller_that_hung_up_are_different(up, outcome) -> None:
    """Inside a Timeout, a breaker sees a CancelledError both times; only one speaks of the dependency."""
    inside = pk.CircuitBreaker("inside", failures=3)
    guard = pk.Pipeline(pk.Timeout(1), inside)
    for _ in range(3):
        assert await outcome(guard.run(up, "hang")) is pk.CallTimeoutError
    assert inside.state == "open"
    inside.reset()
    for _ in range(5):
        task = asyncio.ensure_future(guard.run(up, "hang"))
        await asyncio.sleep(0.5)
        task.cancel()
        assert await outcome(task) == "cancelled"
    assert inside.state == "closed"


@virtual_time
async def test_a_timeout_is_counted_once(up, outcome) -> None:
    breaker = pk.CircuitBreaker("once", failures=2)
    guard = pk.Pipeline(breaker, pk.Timeout(1))
    assert await outcome(guard.run(up, "hang")) is pk.CallTimeoutError
    assert breaker.state == "closed"
    assert await outcome(guard.run(up, "hang")) is pk.CallTimeoutError
    assert breaker.state == "open"
