from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from prodkit.logs.fields import bind, context, current, loguru


def test_fields_are_in_force_inside_the_block_and_inner_ones_win() -> None:
    assert current() == {}
    with context(request_id="r-1", user=7):
        with context(user=8, step="pay"):
            assert current() == {"request_id": "r-1", "user": 8, "step": "pay"}
        assert current() == {"request_id": "r-1", "user": 7}
    assert current() == {}


def test_an_error_inside_puts_the_fields_back() -> None:
    try:
        with context(user=7):
            raise LookupError
    except LookupError:
        assert current() == {}


async def test_tasks_and_threads_started_inside_have_the_fields_and_others_do_not() -> None:
    async def seen() -> dict[str, object]:
        return dict(current())

    with context(user=7):
        task = asyncio.create_task(seen())
        in_thread = await asyncio.to_thread(lambda: dict(current()))
    assert await task == in_thread == {"user": 7}
    assert await asyncio.create_task(seen()) == {}


async def test_a_generator_that_another_task_closes_raises_nothing() -> None:
    async def rows() -> AsyncIterator[int]:
        with context(user=7):
            yield 1
            yield 2

    made = rows()
    assert await asyncio.create_task(anext(made)) == 1  # type: ignore[arg-type]
    await made.aclose()  # type: ignore[attr-defined]
    assert current() == {}


def test_a_bound_logger_carries_its_fields_without_a_context() -> None:
    found: list[dict[str, object]] = []
    sink = loguru().add(lambda message: found.append(dict(message.record["extra"])), format="{message}")
    try:
        bind(user=7).bind(step="pay").info("x")
    finally:
        loguru().remove(sink)
    assert found == [{"user": 7, "step": "pay"}]
    assert current() == {}
