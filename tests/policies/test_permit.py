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


@pytest.mark.parametrize(("successes", "after"), [(1, "closed"), (2, "open")])
def test_a_proven_probe_that_fails_later_still_counts(successes: int, after: str) -> None:
    breaker = pk.CircuitBreaker("b", successes=successes)
    breaker.trip(0)
    permit = breaker.acquire()
    permit.prove()
    permit.prove()  # once is enough
    permit.fail(ConnectionError())
    permit.prove()
    assert breaker.state == after
    assert breaker.statistics.failures == (1 if after == "closed" else 0)


def test_a_proven_probe_counts_its_success_once() -> None:
    breaker = pk.CircuitBreaker("b", successes=2)
    breaker.trip(0)
    permit = breaker.acquire()
    permit.prove()
    permit.succeed()
    assert breaker.state == "half_open"
    breaker.acquire().succeed()
    assert (breaker.state, breaker.statistics.calls) == ("closed", 0)


def test_shadow_and_switched_off_breakers_prove_nothing() -> None:
    breaker = pk.CircuitBreaker("b", mode="shadow")
    breaker.isolate()
    permit = breaker.acquire()
    permit.prove()
    permit.succeed()
    assert breaker.state == "isolated"
    breaker = pk.CircuitBreaker("b")
    breaker.trip(0)
    permit = breaker.acquire()
    with pk.policies.off():
        permit.prove()
    assert breaker.state == "half_open"
