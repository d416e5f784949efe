"""Retry beside tenacity's own loop: the same strategies, the same course of a call, the same story."""

import asyncio
import itertools
import types
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import tenacity
from tenacity import (
    retry_if_exception,
    retry_if_exception_cause_type,
    retry_if_exception_message,
    retry_if_exception_type,
    retry_if_not_exception_message,
    retry_if_not_exception_type,
    retry_if_not_result,
    retry_if_result,
    retry_unless_exception_type,
    stop_after_attempt,
    stop_after_delay,
    stop_before_delay,
    wait_chain,
    wait_exponential,
    wait_fixed,
    wait_incrementing,
)

import prodkit as pk
from prodkit.testing import virtual_time


class Boom(Exception): ...


class Other(Exception): ...


STOPS = [
    stop_after_attempt(3),
    stop_before_delay(5),
    stop_after_attempt(7) | stop_after_delay(9),
    stop_after_attempt(2) & stop_after_delay(3),
]
WAITS = [
    wait_fixed(1) + wait_fixed(0.5),
    wait_chain(wait_fixed(1), wait_fixed(2), wait_exponential(min=1, max=4)),
    wait_incrementing(start=1, increment=1, max=3),
]
if hasattr(tenacity, "wait_exception"):  # not in the lowest version that is supported
    WAITS.append(tenacity.wait_exception(lambda error: 3.0 if isinstance(error, Boom) else 1.0))
RETRIES = {
    "any": retry_if_exception_type(),
    "type": retry_if_exception_type(Boom),
    "not type": retry_if_not_exception_type(Other),
    "unless": retry_unless_exception_type(Other),
    "predicate": retry_if_exception(lambda error: isinstance(error, Boom)),
    "message": retry_if_exception_message(match="b.*"),
    "not message": retry_if_not_exception_message(message="other"),
    "cause": retry_if_exception_cause_type(Other),
    "result": retry_if_result(lambda result: result == "again"),
    "not result": retry_if_not_result(lambda result: result == "ok"),
    "or": retry_if_exception_type(Boom) | retry_if_result(lambda result: result == "again"),
    "and": retry_if_exception_type(Boom) & retry_if_exception_message(message="boom"),
    "never": tenacity.retry_never,
    "always": tenacity.retry_always,
}
COURSES: list[list[Any]] = [
    [Boom("boom")] * 20,
    [Boom("boom")] * 3,
    ["again"] * 4,
    [Boom("b"), "again", Other("o")],
    [Other("other")],
    [tenacity.TryAgain(), Boom("boom")],
    ["caused", "caused"],
]
Story = list[tuple[Any, ...]]


def now() -> float:
    return asyncio.get_running_loop().time()


def call_of(course: list[Any], story: Story) -> Callable[[], Awaitable[str]]:
    left = list(course)

    async def call() -> str:
        story.append(("call", now()))
        step = left.pop(0) if left else "ok"
        if step == "caused":
            raise Boom("boom") from Other()
        if isinstance(step, Exception):
            raise type(step)(*step.args)
        return str(step)

    return call


def callbacks(story: Story) -> dict[str, Callable[[Any], None]]:
    def named(name: str) -> Callable[[Any], None]:
        def callback(state: Any) -> None:
            outcome = state.outcome
            seen = None if outcome is None else repr(outcome.exception() or outcome.result())
            wait = None if name == "before" else state.upcoming_sleep
            story.append((name, state.attempt_number, seen, state.idle_for, wait))

        return callback

    return {name: named(name) for name in ("before", "after", "before_sleep")}


async def ended(story: Story, call: Awaitable[str], began: float) -> Story:
    try:
        story.append(("returned", await call))
    except tenacity.RetryError as error:  # of a result: Retry returns the last one
        story.append(("returned", error.last_attempt.result()))
    except Exception as error:
        story.append(("raised", repr(error)))
    return [("call", entry[1] - began) if entry[0] == "call" else entry for entry in story]


@pytest.mark.parametrize("name", RETRIES)
@virtual_time
async def test_both_tell_the_same_story(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tenacity, "time", types.SimpleNamespace(monotonic=now))  # the loop's time
    for course, stop, wait in itertools.product(COURSES, STOPS, WAITS):
        theirs: Story = []
        loop = tenacity.AsyncRetrying(
            retry=RETRIES[name], stop=stop, wait=wait, reraise=True, sleep=asyncio.sleep, **callbacks(theirs)
        )
        theirs = await ended(theirs, loop(call_of(course, theirs)), now())
        ours: Story = []
        retry = pk.Retry(attempts=None, on=RETRIES[name], stop=stop, wait=wait, **callbacks(ours))
        ours = await ended(ours, retry.run(call_of(course, ours)), now())
        assert ours == theirs, (course, stop, wait)
