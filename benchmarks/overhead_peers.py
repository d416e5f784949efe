"""The peers of ``overhead.py``: one factory each, which imports its library when it is called."""

from __future__ import annotations

import functools
import importlib
import time
from typing import Any


class Boom(Exception):
    pass


def _lib(name: str) -> Any:
    return importlib.import_module(name)


def _unique() -> str:
    return f"bench{time.perf_counter_ns()}"


def _pybreaker() -> Any:
    _lib("tornado")
    breaker = _lib("pybreaker").CircuitBreaker(fail_max=5)

    def decorate(fn: Any) -> Any:
        async def guarded(*args: Any) -> Any:
            return await breaker.call_async(fn, *args)

        return guarded

    return decorate


async def _purgatory() -> Any:
    breaker = await _lib("purgatory").AsyncCircuitBreakerFactory(default_threshold=5).get_breaker(_unique())

    def decorate(fn: Any) -> Any:
        async def guarded(*args: Any) -> Any:
            async with breaker:
                return await fn(*args)

        return guarded

    return decorate


def _purgatory_sync() -> Any:
    breaker = _lib("purgatory").SyncCircuitBreakerFactory(default_threshold=5).get_breaker(_unique())

    def decorate(fn: Any) -> Any:
        def guarded(*args: Any) -> Any:
            with breaker:
                return fn(*args)

        return guarded

    return decorate


def _interlock(**more: Any) -> Any:
    lib = _lib("interlock")
    return lib.CircuitBreaker(name="x", config=lib.Config(minimum_number_of_calls=5, **more))


def _pyresilience(**more: Any) -> Any:
    lib = _lib("pyresilience")
    return lib.resilient(circuit_breaker=lib.CircuitBreakerConfig(**more))


def _aioresilience() -> Any:
    lib = _lib("aioresilience")
    return lib.with_circuit_breaker(
        lib.CircuitBreaker(name="x", config=lib.CircuitConfig(failure_threshold=5))
    )


def _hyx() -> Any:
    return _lib("hyx.circuitbreaker").consecutive_breaker(exceptions=(Exception,), failure_threshold=5)


def _tenacity() -> Any:
    lib = _lib("tenacity")
    return lib.retry(stop=lib.stop_after_attempt(3), wait=lib.wait_random_exponential(max=1), reraise=True)


def _timeout(fn: Any) -> Any:
    asyncio = _lib("asyncio")

    @functools.wraps(fn)
    async def timed(*args: Any) -> Any:
        async with asyncio.timeout(5.0):
            return await fn(*args)

    return timed


def _nopanic_composed() -> Any:
    lib = _lib("nopanic")
    return lib.compose(
        lib.fallback(None),
        lib.retry(attempts=3, on=Boom),
        lib.circuit_breaker(min_calls=5),
        lib.timeout(5.0),
    )


def _interlock_pipeline() -> Any:
    lib = _lib("interlock")
    builder = lib.Pipeline.builder().fallback(lambda error: None).retry(attempts=3)
    return builder.circuit_breaker(lib.CircuitBreaker(name="p")).timeout(5.0).build()


def _recipe() -> Any:
    retry, breaker = _tenacity(), _lib("aiobreaker").CircuitBreaker(fail_max=5)
    return lambda fn: retry(breaker(_timeout(fn)))


BREAKERS = {
    "purgatory": _purgatory,
    "circuitbreaker": lambda: _lib("circuitbreaker").CircuitBreaker(failure_threshold=5).decorate,
    "hyx": _hyx,
    "nopanic (rate window)": lambda: _lib("nopanic").circuit_breaker(min_calls=5),
    "nopanic (rate window + slow)": lambda: _lib("nopanic").circuit_breaker(
        min_calls=5, slow_call_duration=1.0
    ),
    "aiobreaker": lambda: _lib("aiobreaker").CircuitBreaker(fail_max=5),
    "flexinfer-resilience": lambda: _lib("resilience").CircuitBreaker("x").decorate,
    "pyresilience": lambda: _pyresilience(failure_threshold=5),
    "pyresilience (window of 100)": lambda: _pyresilience(sliding_window_size=100),
    "aioresilience": _aioresilience,
    "interlock-cb": _interlock,
    "pybreaker (tornado)": _pybreaker,
}
RETRIES = {
    "nopanic": lambda: _lib("nopanic").retry(attempts=3, on=Boom),
    "nopanic + budget": lambda: _lib("nopanic").retry(
        attempts=3, on=Boom, budget=_lib("nopanic").RetryBudget()
    ),
    "pyresilience": lambda: _lib("pyresilience").resilient(
        retry=_lib("pyresilience").RetryConfig(max_attempts=3)
    ),
    "backoff": lambda: _lib("backoff").on_exception(_lib("backoff").expo, Boom, max_tries=3),
    "stamina": lambda: _lib("stamina").retry(on=Boom, attempts=3),
    "tenacity": _tenacity,
}
PIPELINES = {
    "nopanic fallback+retry+breaker+Timeout": _nopanic_composed,
    "tenacity+aiobreaker+asyncio Timeout": _recipe,
    "interlock-cb fallback+retry+breaker+Timeout": _interlock_pipeline,
}
SYNC = {
    "purgatory breaker": _purgatory_sync,
    "circuitbreaker breaker": lambda: _lib("circuitbreaker").CircuitBreaker(failure_threshold=5).decorate,
    "nopanic breaker": lambda: _lib("nopanic").circuit_breaker(min_calls=5),
    "aiobreaker breaker": lambda: _lib("aiobreaker").CircuitBreaker(fail_max=5),
    "pybreaker breaker": lambda: _lib("pybreaker").CircuitBreaker(fail_max=5),
    "pyresilience breaker": lambda: _pyresilience(failure_threshold=5),
    "interlock-cb breaker": _interlock,
    "nopanic retry": lambda: _lib("nopanic").retry(attempts=3, on=Boom),
    "backoff retry": lambda: _lib("backoff").on_exception(_lib("backoff").expo, Boom, max_tries=3),
    "tenacity retry": _tenacity,
    "stamina retry": lambda: _lib("stamina").retry(on=Boom, attempts=3),
}
