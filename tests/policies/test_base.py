import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Iterator
from typing import Any
from unittest.mock import AsyncMock

import pytest

import prodkit as pk
from prodkit import policies
from prodkit.policies.base import kind_of
from prodkit.testing import virtual_time

POLICIES = [
    pk.CircuitBreaker("b", failures=99),
    pk.Retry(wait=0),
    pk.Pipeline(pk.Retry(), pk.CircuitBreaker("c")),
]


async def plain(value: int = 1) -> int:
    return value


async def items() -> AsyncIterator[int]:
    yield 1


class Called:
    async def __call__(self, value: int = 1) -> int:
        return value

    async def method(self, value: int = 1) -> int:
        return value


def test_kinds() -> None:
    for form in (plain, functools.partial(plain, 2), Called(), Called().method, AsyncMock(), Called.method):
        assert kind_of(form) == "async"
    for form in (items, functools.partial(items)):
        assert kind_of(form) == "stream"
    for form in (len, lambda: 1, functools.partial(int, "3"), print):
        assert kind_of(form) == "sync"


def gen() -> Iterator[int]:
    yield 1


@contextlib.contextmanager
def manager() -> Iterator[int]:
    yield 1


@contextlib.asynccontextmanager
async def async_manager() -> AsyncIterator[int]:
    yield 1


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: type(policy).__name__)
def test_what_cannot_be_guarded_is_refused_at_decoration(policy: pk.policies.Policy) -> None:
    for form, match in (
        (manager, "manager makes a context manager"),
        (async_manager, "async_manager makes a context manager"),
        (Called, "Called is a class"),
        (staticmethod(plain), "put the policy below @staticmethod"),
        (classmethod(plain), "put the policy below @classmethod"),
        (None, "guards a callable, got NoneType"),
        (3, "guards a callable, got int"),
        (items(), "pass the function"),
        (plain(), r"pass the function.*run\(plain, …\) instead of run\(plain\(…\)\)"),
    ):
        with pytest.raises(TypeError, match=match):
            policy(form)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "policy", [pk.Timeout(1), pk.Hedge(), pk.AdaptiveLimit(), pk.Fallback(0, on=KeyError)]
)
def test_a_generator_is_refused_by_policies_that_cannot_guard_it(policy: pk.policies.Policy) -> None:
    with pytest.raises(TypeError, match=f"gen is a generator, which {type(policy).__name__} cannot guard"):
        policy(gen)


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: type(policy).__name__)
def test_each_face_points_to_the_right_one(policy: pk.policies.Policy) -> None:
    @virtual_time
    async def scenario() -> None:
        with pytest.raises(TypeError, match=r"returned int, which cannot be awaited: use policy\.call"):
            await policy.run(lambda: 1)  # type: ignore[arg-type,return-value]
        with pytest.raises(TypeError, match=r"items is an async generator: use policy\.stream"):
            await policy.run(items)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=r"returned coroutine, not an async iterator: use policy\.run"):
            [item async for item in policy.stream(plain)]  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=r"plain returned an awaitable: use `await policy\.run"):
            policy.call(plain)
        for face in (policy.run, policy.call, policy.stream):
            with pytest.raises(TypeError, match="pass the function"):
                face(plain())  # type: ignore[arg-type]
            with pytest.raises(TypeError, match="guards a callable"):
                face(None)  # type: ignore[arg-type]

    scenario()


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: type(policy).__name__)
def test_every_form_gets_its_arguments(policy: pk.policies.Policy) -> None:
    @virtual_time
    async def scenario() -> None:
        for form in (plain, Called(), Called().method, lambda value: plain(value), functools.partial(plain)):
            assert await policy.run(form, 7) == 7
            assert await policy(form)(7) == 7
            assert await policy(form)(value=8) == 8 if form is plain else True
        assert policy.call(int, "7") == 7
        assert policy(int.__call__)("7") == 7
        assert [item async for item in policy.stream(items)] == [1]
        assert [item async for item in policy(items)()] == [1]
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        future.set_result(3)
        assert await policy.run(lambda: future) == 3

    scenario()


@virtual_time
async def test_an_iterator_that_is_no_generator_is_streamed_too() -> None:
    class Countdown:
        left = 3

        def __aiter__(self) -> "Countdown":
            return self

        async def __anext__(self) -> int:
            self.left -= 1
            if self.left < 0:
                raise StopAsyncIteration
            return self.left

    for policy in (*POLICIES, pk.Timeout(5)):
        assert [item async for item in policy.stream(Countdown)] == [2, 1, 0]


@pytest.mark.parametrize("runtime", [None, 3, object()])
@pytest.mark.parametrize(
    "make",
    [
        pk.Retry,
        pk.Bulkhead,
        policies.AdaptiveLimit,
        policies.Hedge,
        pk.Timeout,
        policies.RetryAfterGate,
        policies.RetryBudget,
        pk.Chaos,
        pk.CircuitBreaker,
        pk.Pipeline,
        policies.Fallback,
        pk.PolicySet,
    ],
)
def test_a_runtime_that_is_none_is_refused(make: Any, runtime: Any) -> None:
    needed: dict[Any, tuple[tuple[Any, ...], dict[str, Any]]] = {
        pk.Bulkhead: ((1,), {}),
        pk.Timeout: ((1,), {}),
        pk.Chaos: ((0.1,), {}),
        pk.CircuitBreaker: (("b",), {}),
        policies.Fallback: ((0,), {"on": ValueError}),
        pk.PolicySet: (({},), {}),
    }
    args, options = needed.get(make, ((), {}))
    with pytest.raises((TypeError, pk.InvalidError), match="runtime must be a Runtime"):
        make(*args, **options, runtime=runtime)
