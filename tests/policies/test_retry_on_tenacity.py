"""tenacity's strategies and callbacks have tenacity's meaning: one kept state, asked in tenacity's order."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
import tenacity

import prodkit as pk
from prodkit.testing import virtual_time


class Boom(Exception):
    pass


def failing(times: int = 99) -> Any:
    async def fn(*args: Any, **kwargs: Any) -> str:
        fn.calls.append(asyncio.get_running_loop().time())  # type: ignore[attr-defined]
        if len(fn.calls) <= times:  # type: ignore[attr-defined]
            raise Boom("original")
        return "fine"

    fn.calls = []  # type: ignore[attr-defined]
    return fn


@virtual_time
async def test_stop_is_asked_after_the_wait_is_known() -> None:
    fn = failing()
    with pytest.raises(Boom):
        await pk.Retry(None, stop=tenacity.stop_before_delay(3), wait=tenacity.wait_fixed(1)).run(fn)
    assert fn.calls == [0, 1, 2]


@virtual_time
async def test_a_plain_wait_function_and_async_strategies() -> None:
    waits: list[int] = []

    def wait(state: Any) -> float:
        waits.append(state.attempt_number)
        return 2.0

    async def stop(state: Any) -> bool:
        await asyncio.sleep(0.5)
        return bool(state.attempt_number >= 3)

    fn = failing()
    with pytest.raises(Boom):
        await pk.Retry(None, stop=stop, wait=wait).run(fn)
    assert waits == [1, 2, 3]
    assert fn.calls == [0, 2.5, 5.0]

    async def later(state: Any) -> timedelta:
        return timedelta(seconds=4)

    fn = failing(1)
    assert await pk.Retry(2, wait=later).run(fn) == "fine"
    assert fn.calls[1] - fn.calls[0] == 4


@virtual_time
async def test_an_async_predicate_is_awaited() -> None:
    async def never(error: BaseException) -> bool:
        return False

    async def always(error: BaseException) -> bool:
        return True

    fn = failing()
    with pytest.raises(Boom):
        await pk.Retry(3, on=never, wait=0).run(fn)
    assert len(fn.calls) == 1
    with pytest.raises(Boom):
        await pk.Retry(3, on=always, wait=0).run(fn)
    assert len(fn.calls) == 4

    async def async_strategy(state: Any) -> bool:
        return state.attempt_number < 2  # type: ignore[no-any-return]

    fn = failing()
    strategy = tenacity.asyncio.retry_if_exception(always)
    with pytest.raises(Boom):
        await pk.Retry(3, on=strategy, wait=0).run(fn)
    assert len(fn.calls) == 3


@virtual_time
async def test_the_state_is_that_of_the_users_call_and_is_kept() -> None:
    seen: list[Any] = []
    fn = failing(2)

    def note(state: Any) -> None:
        assert (state.fn, state.args, state.kwargs) == (fn, (1,), {"two": 2})
        error = state.outcome.exception() if state.outcome else None
        seen.append(
            (id(state), state.attempt_number, type(error).__name__, state.idle_for, state.seconds_since_start)
        )

    retry = pk.Retry(
        None, stop=tenacity.stop_after_attempt(5), wait=tenacity.wait_fixed(3), before_sleep=note
    )
    assert await pk.Pipeline(retry, pk.CircuitBreaker("b"), pk.Timeout(9)).run(fn, 1, two=2) == "fine"
    assert await retry(fn)(1, two=2) == "fine"
    assert [each[1:] for each in seen] == [(1, "Boom", 3.0, 0.0), (2, "Boom", 6.0, 3.0)]
    assert len({each[0] for each in seen}) == 1
    assert retry.statistics["attempt_number"] == 1


@virtual_time
async def test_callbacks_in_tenacitys_order() -> None:
    order: list[str] = []

    async def before(state: Any) -> None:
        order.append(f"before {state.attempt_number}")

    def hook(name: str) -> Any:
        return lambda state: order.append(f"{name} {state.attempt_number}")

    retry = pk.Retry(2, wait=0, before=before, after=hook("after"), before_sleep=hook("before_sleep"))
    with pytest.raises(Boom):
        await retry.run(failing())
    assert order == ["before 1", "after 1", "before_sleep 1", "before 2", "after 2"]


@virtual_time
async def test_the_callback_answers_instead_of_the_last_error() -> None:
    retry = pk.Retry(2, wait=0, retry_error_callback=lambda state: ("gave up", state.attempt_number))
    assert await retry.run(failing()) == ("gave up", 2)

    def plain() -> str:
        raise Boom

    assert retry.call(plain) == ("gave up", 2)
    assert retry(plain)() == ("gave up", 2)


@virtual_time
async def test_try_again_is_honoured() -> None:
    calls = 0

    async def fn() -> str:
        nonlocal calls
        calls += 1
        if calls < 3:
            raise tenacity.TryAgain
        return "fine"

    assert await pk.Retry(3, on=KeyError, wait=0).run(fn) == "fine"
    assert calls == 3


@virtual_time
async def test_a_predicate_returns_the_seconds_to_wait() -> None:
    for hint, at in ((7, 7.0), (timedelta(seconds=8), 8.0), (0.0, 0.0)):
        fn, loop = failing(1), asyncio.get_running_loop()
        began = loop.time()
        assert await pk.Retry(2, on=lambda error, hint=hint: hint).run(fn) == "fine"  # type: ignore[misc]
        assert loop.time() - began == at


def test_a_decorated_function_carries_its_retry() -> None:
    calls = 0

    @pk.Retry(2, wait=0)
    def fn() -> None:
        nonlocal calls
        calls += 1
        raise Boom

    with pytest.raises(Boom):
        fn()
    assert fn.statistics["attempt_number"] == 2  # type: ignore[attr-defined]
    assert fn.retry.attempts == 2  # type: ignore[attr-defined]
    with pytest.raises(Boom):
        fn.retry_with(attempts=5)()  # type: ignore[attr-defined]
    assert calls == 7


@virtual_time
async def test_groups_are_retried_when_every_leaf_matches() -> None:
    calls = 0

    async def fn(other: type[Exception]) -> None:
        nonlocal calls
        calls += 1
        raise ExceptionGroup("both", [ConnectionError(), other()])

    retry = pk.Retry(3, on=(ConnectionError, TimeoutError), wait=0)
    with pytest.raises(ExceptionGroup):
        await retry.run(fn, TimeoutError)
    assert calls == 3
    with pytest.raises(ExceptionGroup):
        await retry.run(fn, KeyError)
    assert calls == 4


def test_an_async_strategy_cannot_serve_plain_code() -> None:
    async def stop(state: Any) -> bool:
        await asyncio.sleep(0)
        return True

    def fn() -> None:
        raise Boom

    with pytest.raises(TypeError, match="cannot be awaited in synchronous code"):
        pk.Retry(None, stop=stop).call(fn)
    with pytest.raises(ValueError, match=r"write @Retry\(\), with parentheses"):
        pk.Retry(fn)  # type: ignore[arg-type]
