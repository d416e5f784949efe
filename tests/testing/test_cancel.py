import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from prodkit.testing.cancel import cancel_everywhere


def test_every_await_is_met_once() -> None:
    met: list[int] = []

    async def call() -> None:
        reached = 0
        try:
            for _ in range(3):
                await asyncio.sleep(1)
                reached += 1
        finally:
            met.append(reached)

    async def scenario() -> tuple[Coroutine[Any, Any, None], Callable[[], object]]:
        return call(), lambda: None

    runs = cancel_everywhere(scenario)
    assert len(met) == runs - 1, "one of them is cancelled before its first step"
    assert set(met) == {0, 1, 2, 3}


def test_what_leaks_is_found_and_told_where() -> None:
    async def scenario() -> tuple[Coroutine[Any, Any, None], Callable[[], object]]:
        places = [1]

        async def call() -> None:
            places.pop()
            await asyncio.sleep(1)
            places.append(1)

        def settled() -> None:
            assert places == [1]

        return call(), settled

    with pytest.raises(AssertionError) as found:
        cancel_everywhere(scenario)
    assert any("cancelled at step" in note for note in found.value.__notes__)


def test_timers_and_tasks_that_are_left_are_found() -> None:
    async def timer() -> tuple[Coroutine[Any, Any, None], Callable[[], object]]:
        asyncio.get_running_loop().call_later(100, print)
        return asyncio.sleep(1), lambda: None

    async def task() -> tuple[Coroutine[Any, Any, None], Callable[[], object]]:
        kept.append(asyncio.ensure_future(asyncio.sleep(100)))
        return asyncio.sleep(1), lambda: None

    kept: list[object] = []
    with pytest.raises(AssertionError, match="timers are left"):
        cancel_everywhere(timer)
    with pytest.raises(AssertionError, match="tasks are left"):
        cancel_everywhere(task)


def test_a_call_that_never_ends_is_refused() -> None:
    async def call() -> None:
        for _ in range(50):
            await asyncio.sleep(0)

    async def scenario() -> tuple[Coroutine[Any, Any, None], Callable[[], object]]:
        return call(), lambda: None

    with pytest.raises(ValueError, match="more than most=10"):
        cancel_everywhere(scenario, most=10)
