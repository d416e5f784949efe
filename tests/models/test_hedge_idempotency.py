"""A hedge in any pipeline, with any timing: what is marked runs once, what is not may run again."""

import asyncio
import warnings
from typing import Any

from hypothesis import given, settings, strategies as st

import prodkit as pk
from prodkit import policies
from prodkit.testing import virtual_time

LAYERS = {
    "retry": lambda: pk.Retry(2, wait=0),
    "breaker": lambda: pk.CircuitBreaker("b", failures=99),
    "bulkhead": lambda: policies.Bulkhead(50),
    "timeout": lambda: pk.Timeout(500),
    "fallback": lambda: policies.Fallback("instead", on=KeyError),
}


@settings(max_examples=150, deadline=None)
@given(
    around=st.lists(st.sampled_from(sorted(LAYERS)), max_size=3, unique=True),
    inside=st.lists(st.sampled_from(sorted(LAYERS)), max_size=3, unique=True),
    after=st.floats(0.01, 2.0),
    extra=st.integers(1, 4),
    takes=st.lists(st.floats(0.0, 5.0), min_size=8, max_size=8),
    marked=st.booleans(),
    form=st.sampled_from(["run", "decorator", "partial", "method"]),
)
def test_a_marked_call_runs_once(
    around: list[str],
    inside: list[str],
    after: float,
    extra: int,
    takes: list[float],
    marked: bool,
    form: str,
) -> None:
    calls: list[float] = []

    async def body() -> str:
        seconds = takes[len(calls)]
        calls.append(seconds)
        await asyncio.sleep(seconds)
        return "answer"

    class Service:
        async def ask(self) -> str:
            return await body()

    async def plain(*_: Any) -> str:
        return await body()

    if marked:
        policies.non_idempotent(plain)
        policies.non_idempotent(Service.ask)

    async def scenario() -> None:
        import functools

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            layers = [LAYERS[name]() for name in around]
            hedge = pk.Hedge(after, extra=extra)
            pipeline = pk.Pipeline(*layers, hedge, *(LAYERS[name]() for name in inside))
        if form == "run":
            answer = await pipeline.run(plain)
        elif form == "decorator":
            answer = await pipeline(plain)()
        elif form == "partial":
            answer = await pipeline.run(functools.partial(plain, 1))
        else:
            answer = await pipeline.run(Service().ask)
        assert answer == "answer"
        await hedge.aclose()

    virtual_time(scenario())
    if marked:
        assert len(calls) == 1
    else:
        assert 1 <= len(calls) <= 1 + extra
        if calls[0] > after + 0.01:
            assert len(calls) >= 2, "a slow call was not hedged"
