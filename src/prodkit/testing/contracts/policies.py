"""Contract of a policy: the behaviour that every one keeps, whatever else it does."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Coroutine
from contextvars import copy_context
from typing import Any

from prodkit.core.deadline import Deadline
from prodkit.errors import DeadlineExceededError
from prodkit.policies.base import Policy
from prodkit.testing.loop import virtual_time

__all__ = ["PolicyContract"]


class _FaultError(Exception):
    """Raised by the guarded call."""


async def _late(call: Coroutine[Any, Any, Any]) -> None:
    try:
        await call
    except DeadlineExceededError:
        return
    raise AssertionError("no DeadlineExceededError")


class PolicyContract:
    """A healthy call comes through a policy unchanged, an error keeps its class, a cancellation leaves nothing.

    :meth:`make_policy` makes a new policy that admits calls, and that neither repeats nor replaces anything for an
    unknown exception after at most :attr:`patience` seconds. Runs on virtual time.
    """

    patience: float = 3600.0
    """Seconds within which an error has to reach its caller."""

    def make_policy(self) -> Policy:
        """Return a new instance of your policy."""
        raise NotImplementedError

    def test_the_answer_and_the_arguments_come_through(self) -> None:
        async def call(*args: Any, **kwargs: Any) -> Any:
            await asyncio.sleep(0)
            return args, kwargs

        async def scenario() -> None:
            policy = self.make_policy()
            assert await policy.run(call, 1, two=2) == ((1,), {"two": 2})
            assert await policy(call)(1, two=2) == ((1,), {"two": 2})
            assert await policy.run(lambda: call(3)) == ((3,), {})

        virtual_time(scenario())

    def test_an_error_reaches_its_caller(self) -> None:
        async def call() -> None:
            raise _FaultError("original")

        async def scenario() -> None:
            async with asyncio.timeout(self.patience):
                try:
                    await self.make_policy().run(call)
                except _FaultError as error:
                    assert error.args == ("original",)  # noqa: PT017 - pytest.raises would not say why
                else:
                    raise AssertionError("the error was swallowed")

        virtual_time(scenario())

    def test_a_cancellation_is_passed_on_and_the_call_is_awaited(self) -> None:
        cleaned: list[bool] = []

        async def call() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0.01)
                cleaned.append(True)

        async def scenario() -> None:
            policy = self.make_policy()
            task = asyncio.ensure_future(policy.run(call))
            await asyncio.sleep(0.5)
            assert not task.done(), "the policy ended a call within half a second"
            task.cancel()
            await asyncio.wait((task,))
            assert task.cancelled(), "the cancellation was swallowed"
            assert cleaned, "the cancelled call was not awaited"
            assert await policy.run(asyncio.sleep, 0, "next") == "next", (
                "the cancelled call left something behind"
            )

        virtual_time(scenario())

    def test_calls_do_not_wait_for_each_other(self) -> None:
        async def scenario() -> None:
            policy, loop = self.make_policy(), asyncio.get_running_loop()
            await asyncio.gather(policy.run(asyncio.sleep, 0.5), policy.run(asyncio.sleep, 0.5))
            assert loop.time() < 1, "two calls took the time of two"

        virtual_time(scenario())

    def test_the_deadline_ends_a_call_and_a_stream(self) -> None:
        async def stream() -> AsyncIterator[int]:
            for number in range(9):
                await asyncio.sleep(0.2)
                yield number

        async def all_of(items: AsyncIterator[int], into: list[int]) -> None:
            async for item in items:
                into.append(item)  # noqa: PERF401 - what came before the deadline is kept

        async def scenario() -> None:
            policy, loop = self.make_policy(), asyncio.get_running_loop()
            with Deadline.after(0.5):
                await _late(policy.run(asyncio.sleep, 9))
            assert loop.time() == 0.5, "the call went on after the deadline"
            try:
                items = policy.stream(stream)
            except TypeError:
                return  # it guards no streams
            seen: list[int] = []
            with Deadline.after(0.5):
                await _late(all_of(items, seen))
            assert (loop.time(), seen) == (1.0, [0, 1]), "the stream went on after the deadline"

        virtual_time(scenario())

    def test_no_context_is_left_behind(self) -> None:
        async def call() -> None: ...

        async def scenario() -> None:
            policy = self.make_policy()
            await policy.run(call)
            before = dict(copy_context().items())
            await policy.run(call)
            assert dict(copy_context().items()) == before

        virtual_time(scenario())

    def test_the_decorator_keeps_what_a_function_says_of_itself(self) -> None:
        async def documented(a: int, *, b: str = "x") -> float:
            """Says something."""
            return 1.0

        guarded = self.make_policy()(documented)
        assert inspect.iscoroutinefunction(guarded)
        assert inspect.signature(guarded) == inspect.signature(documented)
        assert (guarded.__name__, guarded.__doc__) == ("documented", "Says something.")

    def test_a_coroutine_object_is_refused(self) -> None:
        async def call() -> None: ...

        policy: Any = self.make_policy()
        for face in (policy.run, policy.call, policy):
            try:
                face(call())
            except TypeError as error:
                assert "pass the function" in str(error)  # noqa: PT017
            else:
                raise AssertionError("a coroutine object was taken for a function")
