"""Policies switched off for tests of the code inside them."""

import asyncio

import pytest

import prodkit as pk
from prodkit import policies
from prodkit.policies.events import HedgeStarted
from prodkit.policies.switch import OFF, is_off
from prodkit.testing import virtual_time


def test_blocks_may_be_nested_and_end_with_an_error() -> None:
    assert not is_off()
    with policies.off():
        with pytest.raises(KeyError), policies.off():
            assert OFF == [2]
            raise KeyError
        assert is_off()
    assert not is_off()


@virtual_time
async def test_inside_every_policy_only_passes_calls_on() -> None:
    async def fails() -> None:
        raise ConnectionError

    async def slow() -> str:
        await asyncio.sleep(5)
        return "answer"

    full, gate = pk.Bulkhead(1, max_queue=0), policies.RetryAfterGate(queue_timeout=0)
    gate.close(60)
    holder = asyncio.ensure_future(full.run(asyncio.sleep, 9))
    await asyncio.sleep(0)
    started: list[object] = []
    runtime = pk.Runtime()
    runtime.events.subscribe(started.append, HedgeStarted)
    chaos = policies.Chaos(1.0, error=KeyError)
    with policies.off():
        for policy in (full, gate, chaos, policies.Hedge(1.0, runtime=runtime)):
            before = asyncio.get_running_loop().time()
            assert await policy.run(slow) == "answer"
            assert asyncio.get_running_loop().time() == before + 5
        assert full.call(lambda: full.call(lambda: "nested")) == "nested"
        gate.enter_sync()
        with pytest.raises(ConnectionError):
            await policies.Fallback("instead", on=ConnectionError).run(fails)
        for attempt in pk.Retry(wait=9, result=lambda found: found is None):
            with attempt:
                attempt.set_result(None)
        assert attempt.number == 1
    await holder
    assert (full.inflight, started) == (0, [])
    with pytest.raises(KeyError):
        await chaos.run(slow)


@virtual_time
async def test_a_runtime_without_policies_switches_off_every_form() -> None:
    runtime, calls = pk.Runtime(policies="off"), 0

    def fails() -> None:
        nonlocal calls
        calls += 1
        raise ConnectionError

    retry = pk.Retry(wait=9, runtime=runtime)
    breaker = pk.CircuitBreaker("b", runtime=runtime)
    breaker.trip()
    mixed = pk.Pipeline(retry, breaker, pk.Timeout(5))
    switched = pk.Pipeline(pk.Retry(wait=9), pk.Timeout(5), runtime=runtime)
    for repeated in (retry, mixed, switched):
        with pytest.raises(ConnectionError):
            async for attempt in repeated:
                async with attempt:
                    fails()
        with pytest.raises(ConnectionError):
            for attempt in retry:
                with attempt:
                    fails()
    assert calls == 6
    with pytest.raises(ConnectionError):
        await mixed.run(asyncio.to_thread, fails)
    with pytest.raises(ConnectionError):
        pk.Pipeline(retry, breaker).call(fails)
    assert calls == 8
    breaker.acquire().succeed()
    (await breaker.admit()).cancel()
    async with mixed, pk.Bulkhead(1, runtime=runtime).hold():
        pass
    for same in (pk.Pipeline(retry, breaker)(fails), pk.Pipeline()(fails)):
        assert getattr(same, "__wrapped__", None) is not same


async def test_inside_nothing_is_repeated_and_nothing_refused() -> None:
    breaker, calls = pk.CircuitBreaker("b", failures=1), 0

    async def fails() -> None:
        nonlocal calls
        calls += 1
        raise ConnectionError

    with policies.off():
        for _ in range(3):
            with pytest.raises(ConnectionError):
                await pk.Pipeline(pk.Retry(3, wait=0), breaker).run(fails)
    assert (calls, breaker.state) == (3, "closed")
