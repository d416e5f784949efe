import asyncio
import warnings
from collections.abc import Callable
from typing import Any

import pytest

import prodkit as pk
from prodkit import policies
from prodkit.policies import CostlyOrderWarning, Policy
from prodkit.testing import virtual_time


class Notes(Policy):
    """Writes down when it is entered and left."""

    def __init__(self, name: str, log: list[str]) -> None:
        self.name = name
        self.log = log

    def wrap(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        self.log.append(f"wrap {self.name}")

        async def noted(*args: Any, **kwargs: Any) -> Any:
            self.log.append(f"in {self.name}")
            try:
                return await fn(*args, **kwargs)
            finally:
                self.log.append(f"out {self.name}")

        return noted

    def __repr__(self) -> str:
        return f"Notes({self.name!r})"


@virtual_time
async def test_outermost_first_and_built_once(up) -> None:
    log: list[str] = []
    pipeline = pk.Pipeline(Notes("a", log), pk.Timeout(5), Notes("b", log))
    assert await pipeline.run(up) == "answer"
    assert log == ["wrap b", "wrap a", "in a", "in b", "out b", "out a"]
    log.clear()
    await asyncio.gather(pipeline.run(up), pipeline.run(up))
    assert "wrap a" not in log


@virtual_time
async def test_a_policy_of_ones_own_refuses_what_it_does_not_implement(up) -> None:
    with pytest.raises(TypeError, match="Notes cannot guard a synchronous call"):
        pk.Pipeline(Notes("a", [])).call(int)
    with pytest.raises(TypeError, match="Notes cannot guard an async generator"):
        pk.Pipeline(Notes("a", [])).stream(up)  # type: ignore[arg-type]


@virtual_time
async def test_pipelines_nest(up) -> None:
    inner = pk.Pipeline(pk.CircuitBreaker("b"), pk.Timeout(5))
    outer = pk.Pipeline(pk.Retry(attempts=2, wait=1), inner)
    assert await outer.run(up) == "answer"
    assert outer.describe() == (
        "Retry(attempts=2)\n  CircuitBreaker('b', state='closed', mode='guard')\n    Timeout(5)"
    )
    assert repr(outer) == f"Pipeline(Retry(attempts=2), {inner!r})"


@virtual_time
async def test_an_empty_one_calls(up) -> None:
    assert await pk.Pipeline().run(up) == "answer"
    assert pk.Pipeline().call(int, "7") == 7


def test_only_policies() -> None:
    with pytest.raises(TypeError, match="takes policies, got <class 'int'>, 5"):
        pk.Pipeline(int, pk.Timeout(1), 5)  # type: ignore[arg-type]


def order(*chain: Policy) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pk.Pipeline(*chain)
    assert all(warning.category is CostlyOrderWarning for warning in caught)
    assert all(warning.filename == __file__ for warning in caught)
    return [str(warning.message) for warning in caught]


def test_a_costly_order_is_warned_of_with_its_cost() -> None:
    retry, breaker, gate = pk.Retry(), pk.CircuitBreaker("b"), policies.RetryAfterGate()
    bulkhead, fallback = policies.Bulkhead(3), policies.Fallback(None, on=ValueError)
    timeout = pk.Timeout(1)
    assert order(fallback, pk.Timeout(60), retry, breaker, gate, bulkhead, timeout) == []
    assert order(timeout, breaker) == []
    (problem,) = order(breaker, retry)
    assert problem.startswith("Retry stands inside CircuitBreaker: it counts calls instead of attempts")
    assert problem.endswith("(CircuitBreaker is out of place)")
    assert order(retry, fallback) == [
        "Fallback stands inside Retry: it answers before the other has seen the error (Fallback is out of place)"
    ]
    assert order(retry, pk.Retry()) == ["two Retry in one pipeline: only the outer one repeats"]
    assert len(order(bulkhead, gate, breaker, retry)) == 6
    (problem,) = order(breaker, policies.Hedge(1))
    assert problem.startswith(
        "Hedge stands inside CircuitBreaker: the recommended order is the other way round"
    )
    assert order(retry, pk.Retry(nested=True)) == []


@virtual_time
async def test_a_decorated_method_keeps_its_self(up) -> None:
    guard = pk.Pipeline(pk.Retry(), pk.CircuitBreaker("b"), pk.Timeout(5))

    class Client:
        def __init__(self, value: int) -> None:
            self.value = value

        @guard
        async def fetch(self, more: int, *, times: int = 1) -> int:
            return (self.value + more) * times

        @staticmethod
        @guard
        async def static(value: int) -> int:
            return value

        @classmethod
        @guard
        async def made(cls, value: int) -> "Client":
            return cls(value)

    assert await Client(1).fetch(2, times=3) == 9
    assert await Client.static(4) == 4
    assert (await Client.made(5)).value == 5


def test_an_empty_pipeline_repeats_no_block() -> None:
    with pytest.raises(TypeError, match="first policy is a Retry"):
        iter(pk.Pipeline())
