"""Permits: settled once, by the first of succeed, fail and cancel."""

import asyncio
import gc
import weakref

import pytest

import prodkit as pk
from prodkit.policies.events import BreakerChanged
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


@virtual_time
async def test_a_probe_whose_classifier_raises_gives_its_slot_back() -> None:
    verdicts: list[str | None] = [None, "not a verdict"]
    breaker = pk.CircuitBreaker("b", failures=1, open_for=10, classify=lambda error: verdicts.pop(0))  # type: ignore[arg-type, return-value]

    async def fail() -> None:
        raise KeyError

    async def fine() -> int:
        return 1

    with pytest.raises(KeyError):
        await breaker.run(fail)
    await asyncio.sleep(10)
    with pytest.raises(ValueError, match="not a verdict"):
        await breaker.run(fail)
    assert await breaker.run(fine) == 1
    assert breaker.state == "closed"


@virtual_time
async def test_a_listener_that_raises_breaks_no_call() -> None:
    def listener(outcome: pk.Outcome, error: BaseException | None) -> None:
        raise RuntimeError

    runtime, seen = pk.Runtime(), []
    runtime.events.subscribe(seen.append, BreakerChanged)
    breaker = pk.CircuitBreaker("b", failures=1, on_outcome=listener, runtime=runtime)

    async def answer(error: Exception | None) -> int:
        if error is not None:
            raise error
        return 1

    assert await breaker.run(answer, None) == 1
    with pytest.raises(pk.InvalidError):
        await breaker.run(answer, pk.InvalidError("neutral"))
    with pytest.raises(KeyError):
        await breaker.run(answer, KeyError())
    assert (breaker.state, len(seen), runtime.events.failures) == ("open", 1, 3)
