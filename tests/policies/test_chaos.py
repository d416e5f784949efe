"""Injected latency, faults, results and behaviour."""

import asyncio
import random
from typing import Any

import pytest

import prodkit as pk
from prodkit.policies.events import ChaosInjected
from prodkit.testing import virtual_time


async def fine(value: int = 1) -> int:
    return value


@virtual_time
async def test_a_share_of_the_calls_is_disturbed() -> None:
    runtime, seen = pk.Runtime(rng=random.Random(7)), []
    runtime.events.subscribe(seen.append)
    chaos = pk.Chaos(0.25, error=ConnectionError, runtime=runtime)
    failed = 0
    for _ in range(400):
        try:
            assert await chaos.run(fine) == 1
        except ConnectionError:
            failed += 1
    assert 70 <= failed <= 130
    assert seen[0] == ChaosInjected(chaos="chaos", kind="ConnectionError", latency=0.0)
    chaos.rate = 0.0
    for _ in range(50):
        await chaos.run(fine)


@virtual_time
async def test_latency_result_behaviour_predicate_and_switch() -> None:
    loop = asyncio.get_running_loop()
    assert await pk.Chaos(1, latency=2.0).run(fine, 3) == 3
    assert loop.time() == 2
    assert await pk.Chaos(1, latency=lambda: 1.0, result=9).run(fine) == 9
    assert loop.time() == 3
    done = []

    async def behave() -> None:
        done.append(True)

    assert await pk.Chaos(1, behaviour=behave).run(fine) == 1
    assert done == [True]
    chosen = pk.Chaos(1, error=lambda: KeyError("injected"), when=lambda value=1: value == 5)
    assert await chosen.run(fine, 4) == 4
    assert await chosen(fine)(4) == 4
    for call in (lambda: chosen.run(fine, 5), lambda: chosen(fine)(5)):
        with pytest.raises(KeyError, match="injected"):
            await call()
    on = False
    switched = pk.Chaos(1, error=KeyError("x"), enabled=lambda: on)
    assert await switched.run(fine) == 1
    on = True
    with pytest.raises(KeyError):
        await switched.run(fine)
    switched.enabled = False
    assert await switched.run(fine) == 1

    async def items() -> Any:
        yield 1

    assert [each async for each in pk.Chaos(1, result=0).stream(items)] == [0]
    assert [each async for each in pk.Chaos(0, result=0).stream(items)] == [1]
    assert pk.Chaos(1, result=0).call(len, "abc") == 0
    assert pk.Chaos(0, result=0)(len)("abc") == 3


@virtual_time
async def test_it_is_a_fault_of_the_dependency_to_the_policies_outside() -> None:
    breaker = pk.CircuitBreaker("b", failures=2)
    pipeline = pk.Pipeline(breaker, pk.Timeout(1), pk.Chaos(1, latency=5))
    for _ in range(2):
        with pytest.raises(pk.CallTimeoutError):
            await pipeline.run(fine)
    assert breaker.state == "open"


def test_production_refuses_it_unless_named() -> None:
    production = pk.Runtime(environment="production")
    with pytest.raises(ValueError, match="Chaos 'slow' is refused in production"):
        pk.Chaos(0.1, name="slow", runtime=production)
    with pytest.raises(ValueError, match="refused in production"):
        pk.Chaos(0.1, name="slow", allow_production="other", runtime=production)
    with pytest.raises(ValueError, match="refused in production"):
        pk.Pipeline(pk.Timeout(1), pk.Chaos(0.1), runtime=production)
    assert pk.Chaos(0.1, name="slow", allow_production="slow", runtime=production).rate == 0.1
    with pytest.raises(ValueError, match=r"rate must.*2.*latency must.*-1.*error or result, not both"):
        pk.Chaos(2, latency=-1, error=KeyError, result=3)


@pytest.mark.parametrize("rate", [-1, 5, "x", None, float("nan"), True])
def test_a_rate_is_checked_whenever_it_is_set(rate: Any) -> None:
    chaos = pk.Chaos(0.5)
    with pytest.raises((TypeError, ValueError), match="rate must be"):
        chaos.rate = rate
    with pytest.raises((TypeError, ValueError), match="rate must be"):
        pk.Chaos(rate)
    assert chaos.rate == 0.5


@pytest.mark.parametrize("enabled", [1, "on", None])
def test_a_switch_is_checked_whenever_it_is_set(enabled: Any) -> None:
    chaos = pk.Chaos(0.5)
    with pytest.raises(TypeError, match="enabled must be"):
        chaos.enabled = enabled
    with pytest.raises(TypeError, match="enabled must be"):
        pk.Chaos(0.5, enabled=enabled)
    assert chaos.enabled is True
    chaos.enabled = bool
    assert chaos.enabled is bool
