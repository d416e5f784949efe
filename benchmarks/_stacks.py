"""What the goodput benchmarks compare: prodkit in one configuration, prodkit without one of its parts, the peers.

A stack makes the guarded call of one client from ``upstream.request(client)``, which raises ConnectionError or
UpstreamError, or answers; the same stacks serve the trace on virtual time and the one over sockets. No peer was tuned:
each has the settings that its own documentation suggests, and everybody's attempts may take one second.
"""

from __future__ import annotations

import asyncio
import datetime as _datetime
import random
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Protocol

import prodkit as pk
from prodkit.policies.adaptive import AdaptiveLimit
from prodkit.policies.backoff import full_jitter
from prodkit.policies.base import Policy
from prodkit.policies.budget import RetryBudget
from prodkit.policies.gate import RetryAfterGate
from prodkit.testing.trace import PATIENCE, UpstreamError


class Upstream(Protocol):
    async def request(self, client: int) -> None: ...


Call = Callable[[], Awaitable[Any]]
TRANSIENT = (ConnectionError, UpstreamError, TimeoutError)
ATTEMPT = 1.0  # seconds an attempt may take, for everybody


def attempt(client: int, upstream: Upstream) -> Call:
    async def once() -> None:
        async with asyncio.timeout(ATTEMPT):
            await upstream.request(client)

    return once


# --- prodkit, one configuration for the whole trace -----------------------------------------------------------------


def prodkit_stack(client: int, upstream: Upstream, *, without: tuple[str, ...] = ()) -> Call:
    """The configuration whose figures are published; `without` leaves parts of it out."""
    runtime = pk.Runtime(rng=random.Random(client))
    budget = None if "budget" in without else RetryBudget(runtime=runtime)
    layers: dict[str, Policy] = {
        "retry": pk.Retry(5, on=TRANSIENT, wait=full_jitter(base=0.1), budget=budget, runtime=runtime),
        "breaker": pk.CircuitBreaker(
            "upstream",
            failures=10,
            failure_rate=0.6,
            window_seconds=5,
            open_for=0.5,
            open_growth=2,
            max_open_for=1.5,
            open_jitter=0.3,
            runtime=runtime,
        ),
        "gate": RetryAfterGate("upstream", runtime=runtime),
        "limit": AdaptiveLimit(runtime=runtime),
        "timeout": pk.Timeout(ATTEMPT),
    }
    kept = [policy for name, policy in layers.items() if name not in without]
    return partial(pk.Pipeline(*kept, runtime=runtime).run, upstream.request, client)


# --- prodkit under the settings of a peer: what is left of the difference when the numbers are the same ---------------


def with_settings(
    client: int,
    upstream: Upstream,
    *,
    attempts: int,
    failures: int | None = None,
    failure_rate: float | None = None,
    window_seconds: float | None = None,
    probes: int = 1,
    budget: float | None = None,
    more: bool = False,
) -> Call:
    """A peer's attempts, back-off, thresholds and open time; `more` adds gate, limit and budget as they come."""
    runtime = pk.Runtime(rng=random.Random(client))
    ratio = RetryBudget(budget, runtime=runtime) if budget else RetryBudget(runtime=runtime) if more else None
    layers: list[Policy] = [
        pk.Retry(attempts, on=TRANSIENT, wait=full_jitter(0.1, cap=5), budget=ratio, runtime=runtime),
        pk.CircuitBreaker(
            "upstream",
            failures=failures,
            failure_rate=failure_rate,
            window_seconds=window_seconds,
            open_for=5,
            probes=probes,
            runtime=runtime,
        ),
    ]
    if more:
        layers += [RetryAfterGate("upstream", runtime=runtime), AdaptiveLimit(runtime=runtime)]
    pipeline = pk.Pipeline(*layers, pk.Timeout(ATTEMPT), runtime=runtime)
    return partial(pipeline.run, upstream.request, client)


def defaults(client: int, upstream: Upstream) -> Call:
    """Nothing set but how long the breaker stays open: its default, 300 s, is longer than the trace."""
    runtime = pk.Runtime(rng=random.Random(client))
    pipeline = pk.Pipeline(
        pk.Retry(budget=RetryBudget(runtime=runtime)),
        pk.CircuitBreaker("upstream", open_for=5, runtime=runtime),
        RetryAfterGate(runtime=runtime),
        AdaptiveLimit(runtime=runtime),
        pk.Timeout(ATTEMPT),
        runtime=runtime,
    )
    return partial(pipeline.run, upstream.request, client)


# --- the peers -----------------------------------------------------------------------------------------------------


def no_retry(client: int, upstream: Upstream) -> Call:
    return attempt(client, upstream)


def naive(client: int, upstream: Upstream) -> Call:
    once = attempt(client, upstream)

    async def five_times() -> None:
        for remaining in (4, 3, 2, 1, 0):
            try:
                await once()
                break
            except TRANSIENT:
                if not remaining:
                    raise

    return five_times


def tenacity_jitter(client: int, upstream: Upstream) -> Call:
    import tenacity as t

    return t.retry(
        stop=t.stop_after_attempt(5) | t.stop_before_delay(PATIENCE),
        wait=t.wait_random_exponential(multiplier=0.1, max=5),
        retry=t.retry_if_exception_type(TRANSIENT),
        reraise=True,
    )(attempt(client, upstream))


def _tenacity_around(guarded: Call) -> Call:
    import tenacity as t

    return t.retry(
        stop=t.stop_after_attempt(5),
        wait=t.wait_random_exponential(multiplier=0.1, max=5),
        retry=t.retry_if_exception_type(TRANSIENT),
        reraise=True,
    )(guarded)


def stamina_defaults(client: int, upstream: Upstream) -> Call:
    import stamina

    stamina.instrumentation.set_on_retry_hooks([])
    return stamina.retry(on=TRANSIENT)(attempt(client, upstream))


def stamina_hook(client: int, upstream: Upstream) -> Call:
    import stamina

    stamina.instrumentation.set_on_retry_hooks([])

    def on(error: Exception) -> Any:
        return isinstance(error, TRANSIENT) and (getattr(error, "retry_after", None) or True)

    return stamina.retry(on=on, timeout=PATIENCE)(attempt(client, upstream))


def pybreaker(client: int, upstream: Upstream) -> Call:
    import pybreaker as p

    p.datetime = _VirtualDatetime
    breaker = p.CircuitBreaker(fail_max=5, reset_timeout=5)
    return _tenacity_around(partial(breaker.call_async, attempt(client, upstream)))


def aiobreaker(client: int, upstream: Upstream) -> Call:
    import datetime

    import aiobreaker as a
    import aiobreaker.circuitbreaker
    import aiobreaker.state

    aiobreaker.circuitbreaker.datetime = aiobreaker.state.datetime = _VirtualDatetime  # type: ignore[attr-defined]
    breaker = a.CircuitBreaker(fail_max=5, timeout_duration=datetime.timedelta(seconds=5))
    return _tenacity_around(breaker(attempt(client, upstream)))


def interlock(client: int, upstream: Upstream) -> Call:
    import interlock as i

    config = i.Config(failure_rate_threshold=0.5, minimum_number_of_calls=20, wait_duration_in_open=5)
    return _tenacity_around(i.CircuitBreaker(name=f"c{client}", config=config)(attempt(client, upstream)))


def nopanic(client: int, upstream: Upstream) -> Call:
    import nopanic as n

    return n.compose(
        n.deadline(PATIENCE),
        n.retry(
            attempts=4,
            on=TRANSIENT,
            backoff=n.backoff.full_jitter(base=0.1, cap=5),
            budget=n.RetryBudget(ratio=0.2),
        ),
        n.circuit_breaker(
            failure_threshold=0.5, min_calls=20, window=10, reset_timeout=5, half_open_max_calls=2
        ),
    )(attempt(client, upstream))


def pyresilience(client: int, upstream: Upstream) -> Call:
    import pyresilience as p

    return p.resilient(
        retry=p.RetryConfig(max_attempts=4, delay=0.1, max_delay=5, retry_on=TRANSIENT),
        retry_budget=p.RetryBudgetConfig(max_retries=20, refill_rate=5),
        circuit_breaker=p.CircuitBreakerConfig(sliding_window_size=40, minimum_calls=20, recovery_timeout=5),
    )(attempt(client, upstream))


def backoff_library(client: int, upstream: Upstream) -> Call:
    import backoff as b

    return b.on_exception(b.expo, TRANSIENT, max_tries=5, max_time=PATIENCE, factor=0.1)(
        attempt(client, upstream)
    )


def circuitbreaker(client: int, upstream: Upstream) -> Call:
    import circuitbreaker as c

    breaker = c.CircuitBreaker(failure_threshold=5, recovery_timeout=5, name=f"c{client}")
    return _tenacity_around(breaker.decorate(attempt(client, upstream)))


def purgatory(client: int, upstream: Upstream) -> Call:
    import purgatory as p

    factory = p.AsyncCircuitBreakerFactory(default_threshold=5, default_ttl=5)
    once = attempt(client, upstream)

    async def guarded() -> None:
        async with await factory.get_breaker(f"c{client}"):
            await once()

    return _tenacity_around(guarded)


def hyx(client: int, upstream: Upstream) -> Call:
    import hyx.circuitbreaker as c
    import hyx.circuitbreaker.states
    import hyx.retry as r

    hyx.circuitbreaker.states.datetime = _VirtualDatetime
    breaker = c.consecutive_breaker(failure_threshold=5, recovery_time_secs=5, recovery_threshold=1)
    return r.retry(on=TRANSIENT, attempts=4, backoff=[0.1, 0.2, 0.4, 0.8])(breaker(attempt(client, upstream)))


def aioresilience(client: int, upstream: Upstream) -> Call:
    import aioresilience as a

    breaker = a.CircuitBreaker(
        name=f"c{client}", config=a.CircuitConfig(failure_threshold=5, recovery_timeout=5)
    )
    retry = a.RetryPolicy(
        config=a.RetryConfig(max_attempts=4, initial_delay=0.1, max_delay=5, retry_on_exceptions=TRANSIENT)
    )
    return a.with_retry(retry)(a.with_circuit_breaker(breaker)(attempt(client, upstream)))


def flexinfer(client: int, upstream: Upstream) -> Call:
    import resilience as r

    breaker = r.CircuitBreaker(f"c{client}", r.CircuitBreakerConfig(failure_threshold=5, recovery_timeout=5))
    config = r.RetryConfig(
        max_attempts=4, backoff=r.ExponentialBackoff(base_delay=0.1, max_delay=5), retry_exceptions=TRANSIENT
    )
    return r.Retry(config).decorate(breaker.decorate(attempt(client, upstream)))


STACKS: dict[str, Callable[[int, Upstream], Call]] = {
    "prodkit": prodkit_stack,
    "no retry": no_retry,
    "naive, 5 immediate": naive,
    "tenacity, 5, full jitter": tenacity_jitter,
    "backoff, 5, full jitter, 3 s": backoff_library,
    "stamina, defaults": stamina_defaults,
    "stamina, 3 s, Retry-After hook": stamina_hook,
    "tenacity + pybreaker": pybreaker,
    "tenacity + aiobreaker": aiobreaker,
    "tenacity + circuitbreaker": circuitbreaker,
    "tenacity + purgatory": purgatory,
    "tenacity + interlock-cb": interlock,
    "hyx retry+breaker": hyx,
    "nopanic budget+breaker+deadline": nopanic,
    "pyresilience": pyresilience,
    "aioresilience retry+breaker": aioresilience,
    "flexinfer-resilience retry+breaker": flexinfer,
}

VARIANTS: dict[str, Callable[[int, Upstream], Call]] = {
    "prodkit without limit": partial(prodkit_stack, without=("limit",)),
    "prodkit without gate": partial(prodkit_stack, without=("gate",)),
    "prodkit without breaker": partial(prodkit_stack, without=("breaker",)),
    "prodkit without budget": partial(prodkit_stack, without=("budget",)),
    "prodkit without retry": partial(prodkit_stack, without=("retry",)),
    "prodkit without gate and limit": partial(prodkit_stack, without=("gate", "limit")),
    "prodkit, breaker and retry as pybreaker's row": partial(with_settings, attempts=5, failures=5),
    "prodkit, breaker and retry as interlock-cb's row": partial(with_settings, attempts=5, failure_rate=0.5),
    "the same, gate + limit + budget added": partial(with_settings, attempts=5, failure_rate=0.5, more=True),
    "prodkit, breaker, retry and budget as nopanic's row": partial(
        with_settings, attempts=4, failure_rate=0.5, window_seconds=10, probes=2, budget=0.2
    ),
    "prodkit, defaults, open_for=5": defaults,
}


# --- peers that read the system's clocks ----------------------------------------------------------------------------


def _now() -> float:
    try:
        return asyncio.get_running_loop().time()
    except RuntimeError:
        return _REAL()


_REAL = time.monotonic


class _VirtualDatetime(_datetime.datetime):
    @classmethod
    def now(cls, tz: _datetime.tzinfo | None = None) -> _datetime.datetime:
        return _datetime.datetime.fromtimestamp(1.7e9 + _now(), tz)

    @classmethod
    def utcnow(cls) -> _datetime.datetime:
        return _datetime.datetime.fromtimestamp(1.7e9 + _now(), _datetime.UTC).replace(tzinfo=None)


def patch_clocks() -> None:
    """Peers import these by name, so this comes before them. prodkit reads the loop and needs none of it."""
    time.monotonic = _now
    time.time = lambda: 1.7e9 + _now()
