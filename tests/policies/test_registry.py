import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

import prodkit as pk
from prodkit.policies import BreakerRegistry
from prodkit.testing import virtual_time


def made(max_keys: int) -> BreakerRegistry:
    return BreakerRegistry(lambda key: pk.CircuitBreaker(key, failures=1, open_for=10), max_keys=max_keys)


def test_one_breaker_a_key_and_the_least_used_is_forgotten() -> None:
    registry = made(2)
    a, b = registry.get("a"), registry.get("b")
    assert registry.get("a") is a
    assert registry.get("c").name == "c"
    assert "b" not in registry
    assert "a" in registry
    assert registry.get("b") is not b
    assert len(registry) == 2


@virtual_time
async def test_no_open_breaker_is_forgotten_however_many_keys_come() -> None:
    registry = made(2)
    registry.get("down").acquire().fail()
    registry.get("isolated").isolate()
    others = [registry.get(f"key {number}") for number in range(1000)]
    assert registry.get("down").state == "open"
    assert registry.get("isolated").state == "isolated"
    assert len(registry) == 2
    assert set(others) == {registry.get("one more")}
    assert others[0].name == "others"
    await asyncio.sleep(10)
    assert registry.get("down").state == "half_open"
    assert registry.get("another").name == "others"
    registry.get("down").acquire().succeed()
    assert registry.get("another").name == "another"
    assert "down" not in registry


@virtual_time
async def test_its_check_names_those_that_refuse() -> None:
    registry = made(2)
    assert isinstance(registry, pk.Check)
    registry.get("a")
    assert (await registry.check()).status == "up"
    registry.get("b").acquire().fail()
    verdict = await registry.check()
    assert (verdict.status, verdict.reason) == ("degraded", "1 of 2 circuits refuse calls")
    assert verdict.details == {"b": "open"}


def test_threads_get_the_same_breaker() -> None:
    registry = made(64)
    with ThreadPoolExecutor(16) as threads:
        got = list(threads.map(lambda number: registry.get(f"key {number % 8}"), range(800)))
    assert len(set(map(id, got))) == 8


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match=r"max_keys must be .* at least 1, got 0"):
        made(0)
    assert repr(made(3)) == "BreakerRegistry(0 of 3)"
