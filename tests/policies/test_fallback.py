import asyncio
from typing import Any

import pytest

from prodkit import Deadline, Runtime
from prodkit.policies.events import FallbackUsed
from prodkit.policies.fallback import Fallback
from prodkit.testing import virtual_time


async def broken(key: str) -> str:
    raise ConnectionError(key)


@virtual_time
async def test_a_value_answers_for_a_named_error() -> None:
    assert await Fallback("nothing", on=ConnectionError).run(broken, "a") == "nothing"
    with pytest.raises(ConnectionError):
        await Fallback("nothing", on=TimeoutError).run(broken, "a")


@virtual_time
async def test_a_callable_gets_the_error() -> None:
    async def cached(error: Exception) -> str:
        return f"cached {error}"

    assert await Fallback(cached, on=ConnectionError).run(broken, "a") == "cached a"
    assert await Fallback(str, on=ConnectionError).run(broken, "a") == "a"


@virtual_time
async def test_a_failing_fallback_keeps_the_first_error_as_context() -> None:
    async def worse(error: Exception) -> str:
        raise LookupError(str(error))

    with pytest.raises(LookupError) as raised:
        await Fallback(worse, on=ConnectionError).run(broken, "a")
    assert isinstance(raised.value.__context__, ConnectionError)


@virtual_time
async def test_cancellation_is_never_answered() -> None:
    task = asyncio.create_task(Fallback("x", on=Exception).run(asyncio.sleep, 10))
    await asyncio.sleep(1)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


def test_it_serves_plain_functions_and_emits_an_event() -> None:
    runtime, seen = Runtime(), []
    runtime.events.subscribe(seen.append)

    @Fallback(0, on=ZeroDivisionError, runtime=runtime)
    def share(whole: int, parts: int) -> float:
        return whole / parts

    assert share(1, 0) == 0
    assert share(4, 2) == 2
    assert seen == [FallbackUsed(fallback="int", error="ZeroDivisionError")]


@pytest.mark.parametrize("on", [BaseException, asyncio.CancelledError, "ConnectionError", (ValueError, 3)])
def test_only_exceptions_can_be_named(on: object) -> None:
    with pytest.raises(TypeError, match="exception classes"):
        Fallback(0, on=on)  # type: ignore[arg-type]


def test_an_async_answer_for_a_plain_function_is_refused() -> None:
    async def cached(error: Exception) -> int:
        return 1

    with pytest.raises(TypeError, match="is async and cannot answer for the plain len"):
        Fallback(cached, on=ValueError)(len)


@virtual_time
async def test_a_plain_function_that_turns_out_async_is_guarded() -> None:
    guarded: Any = Fallback("nothing", on=ConnectionError)(lambda: broken("a"))
    assert await guarded() == "nothing"


@virtual_time
async def test_a_deadline_is_answered_for_when_it_is_named() -> None:
    with Deadline.after(1):
        assert await Fallback("late", on=TimeoutError).run(asyncio.sleep, 9) == "late"
    assert asyncio.get_running_loop().time() == 1


def test_options_are_shown_and_an_empty_list_refused() -> None:
    assert repr(Fallback([], on=(ValueError, KeyError))) == "Fallback(list, on=(ValueError, KeyError,))"
    with pytest.raises(ValueError, match="never answer"):
        Fallback(0, on=())


class Later:
    async def __call__(self, error: Exception) -> str:
        return "late"


def test_what_answers_asynchronously_for_a_plain_function_is_refused() -> None:
    def fail() -> str:
        raise ConnectionError

    async def late(error: Exception) -> str:
        return "late"

    with pytest.raises(TypeError, match="is async and cannot answer"):
        Fallback(Later(), on=ConnectionError)(fail)
    with pytest.raises(TypeError, match="is async and cannot answer") as caught:  # known when it answers
        Fallback(lambda error: late(error), on=ConnectionError).call(fail)
    assert isinstance(caught.value.__cause__, ConnectionError)
