"""Permits: settled once, by the first of succeed, fail and cancel."""

import gc
import weakref

import pytest

import prodkit as pk
from prodkit.testing import virtual_time


@virtual_time
async def test_the_first_settlement_counts() -> None:
    breaker = pk.CircuitBreaker("b", failures=1, open_for=10)
    permit = await breaker.admit()
    permit.succeed()
    permit.fail()
    permit.cancel()
    assert (permit.lease, breaker.state) == (None, "closed")
    breaker.acquire().fail(KeyError())
    assert breaker.state == "open"


@virtual_time
async def test_an_error_that_would_not_count_in_run_is_neutral() -> None:
    breaker = pk.CircuitBreaker("b", failures=1, ignore=KeyError)
    breaker.acquire().fail(KeyError())
    breaker.acquire().fail(pk.RateLimitedError("no"))
    assert breaker.state == "closed"
    breaker.acquire().fail()
    assert breaker.state == "open"


@virtual_time
async def test_a_cancelled_probe_is_free_for_the_next_caller() -> None:
    breaker = pk.CircuitBreaker("b", failures=1, open_for=10)
    breaker.trip(0)
    probe = breaker.acquire()
    with pytest.raises(pk.CircuitOpenError):
        breaker.acquire()
    probe.cancel()
    breaker.acquire().succeed()
    assert breaker.state == "closed"


@virtual_time
async def test_refusals_leave_no_cycle_to_the_garbage_collector() -> None:
    breaker = pk.CircuitBreaker("b")
    breaker.trip(60)

    async def never() -> None: ...

    refusals: list[weakref.ref[pk.CircuitOpenError]] = []
    gc.disable()
    try:
        for _ in range(3):
            try:
                await breaker.run(never)
            except pk.CircuitOpenError as refusal:
                refusals.append(weakref.ref(refusal))
            try:
                breaker.acquire()
            except pk.CircuitOpenError as refusal:
                refusals.append(weakref.ref(refusal))
        assert [each() for each in refusals] == [None] * 6
    finally:
        gc.enable()
