"""pybreaker's and aiobreaker's names over prodkit's breaker. Their own suites: ``tools/peer_suites.py``."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

import prodkit as pk
from prodkit.compat import aiobreaker, pybreaker
from prodkit.testing import virtual_time


class Boom(Exception):
    pass


async def broken() -> None:
    raise Boom


async def fine() -> str:
    return "fine"


@virtual_time
async def test_pybreaker() -> None:
    seen: list[Any] = []

    class Listener(pybreaker.CircuitBreakerListener):
        def state_change(self, cb: Any, old_state: Any, new_state: Any) -> None:
            seen.append((old_state.name, new_state.name))

        def failure(self, cb: Any, exc: BaseException) -> None:
            seen.append(type(exc).__name__)

        def success(self, cb: Any) -> None:
            seen.append("success")

    breaker = pybreaker.CircuitBreaker(
        fail_max=2, reset_timeout=10, listeners=[Listener()], exclude=[KeyError]
    )
    guarded = breaker(broken)
    with pytest.raises(Boom):
        await guarded()
    with pytest.raises(pybreaker.CircuitBreakerError, match="threshold reached") as tripped:
        await guarded()
    assert isinstance(tripped.value.__cause__, Boom)
    assert isinstance(tripped.value, pk.CircuitOpenError)
    with pytest.raises(pybreaker.CircuitBreakerError, match="still open"):
        await breaker.call_async(fine)
    assert (breaker.current_state, breaker.fail_counter, breaker.state.name) == ("open", 2, "open")
    await asyncio.sleep(10)
    assert await breaker.call_async(fine) == "fine"
    assert breaker.current_state == "closed"
    assert seen == [
        "Boom",
        "Boom",
        ("closed", "open"),
        ("open", "half-open"),
        ("half-open", "closed"),
        "success",
    ]


@virtual_time
async def test_the_kept_differences() -> None:
    breaker = pybreaker.CircuitBreaker(
        fail_max=1, reset_timeout=10, exclude=[KeyError], throw_new_error_on_trip=False
    )
    with pytest.raises(Boom):
        await breaker.call_async(broken)
    await asyncio.sleep(10)

    async def excluded() -> None:
        raise KeyError

    with pytest.raises(KeyError):
        await breaker.call_async(excluded)
    assert breaker.current_state == "half-open"
    task = asyncio.ensure_future(breaker.call_async(asyncio.sleep, 50))
    await asyncio.sleep(0.1)
    with pytest.raises(pybreaker.CircuitBreakerError):
        await breaker.call_async(fine)  # one trial call at a time
    task.cancel()
    await asyncio.wait([task])
    assert await breaker.call_async(fine) == "fine"


def test_by_hand_and_settings() -> None:
    breaker = pybreaker.CircuitBreaker(name="b")
    breaker.fail_max, breaker.reset_timeout, breaker.success_threshold = 3, 7, 2
    assert (breaker.fail_max, breaker.reset_timeout, breaker.success_threshold, breaker.name) == (
        3,
        7,
        2,
        "b",
    )
    breaker.open()
    with pytest.raises(pybreaker.CircuitBreakerError), breaker.calling():
        pass
    breaker.half_open()
    for _ in range(2):
        with breaker.calling():
            pass
    assert breaker.current_state == "closed"
    breaker.state = "open"  # type: ignore[assignment]
    breaker.close()
    with pytest.raises(ValueError, match="Unknown state 'ajar'"):
        pybreaker.CircuitBreaker(state_storage=pybreaker.CircuitMemoryStorage("ajar"))
    with pytest.raises(TypeError, match="SharedBreakers"):
        pybreaker.CircuitBreaker(state_storage=object())


@virtual_time
async def test_aiobreaker() -> None:
    breaker = aiobreaker.CircuitBreaker(fail_max=1, timeout_duration=timedelta(seconds=5))

    @breaker
    async def ask() -> None:
        raise Boom

    with pytest.raises(aiobreaker.CircuitBreakerError) as tripped:
        await breaker.call_async(ask)
    assert tripped.value.time_remaining == timedelta(seconds=5)
    assert breaker.current_state is aiobreaker.CircuitBreakerState.OPEN
    assert breaker.opens_at is not None
    await breaker.sleep_until_open()
    assert await breaker.call_async(fine) == "fine"
    assert breaker.current_state is aiobreaker.CircuitBreakerState.CLOSED
    assert breaker.time_until_open is None
    with pytest.raises(TypeError, match="positional"):
        breaker(1, 2)  # type: ignore[arg-type]


def test_states_are_objects_of_the_libraries_own_classes() -> None:
    seen: list[tuple[Any, Any]] = []

    class Log(pybreaker.CircuitBreakerListener):
        def state_change(self, cb: Any, old_state: Any, new_state: Any) -> None:
            seen.append((old_state, new_state))

    breaker = pybreaker.CircuitBreaker(listeners=[Log()])
    breaker.open()
    breaker.half_open()
    breaker.close()
    names = [pybreaker.CircuitOpenState, pybreaker.CircuitHalfOpenState, pybreaker.CircuitClosedState]
    assert [type(new) for _, new in seen] == names
    assert [new for _, new in seen[:-1]] == [old for old, _ in seen[1:]]
    assert isinstance(breaker.state, pybreaker.CircuitBreakerState)
    assert (breaker.state.name, repr(breaker.state)) == ("closed", "CircuitClosedState('closed')")
    assert breaker.state.breaker is breaker

    for state in aiobreaker.CircuitBreakerState:
        storage = aiobreaker.CircuitMemoryStorage(state)
        other = aiobreaker.CircuitBreaker(state_storage=storage)
        assert isinstance(other.state, state.value)
        assert isinstance(other.state, aiobreaker.CircuitBreakerBaseState)
        assert (other.state.state, other.state.name) == (state, state.name)
