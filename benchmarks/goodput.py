"""Goodput under fault: one trace, every stack, five seeds, virtual time.

    python -m benchmarks.goodput                 # all stacks that are installed
    python -m benchmarks.goodput prodkit --seeds 1

The trace is prodkit.testing.trace: 195 s of an upstream that refuses, slows down, throttles and fails. No peer was
tuned; each has the settings that its own documentation suggests, and prodkit has the one configuration of
:func:`prodkit_stack`. A share of answered wishes is goodput; the ceiling of the trace is about 78 %.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import statistics
import time
import warnings
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any

import prodkit as pk
from prodkit.policies.adaptive import AdaptiveLimit
from prodkit.policies.backoff import full_jitter
from prodkit.policies.budget import RetryBudget
from prodkit.policies.gate import RetryAfterGate
from prodkit.testing.trace import PATIENCE, Report, Upstream, UpstreamError, run_trace

Call = Callable[[], Awaitable[Any]]
TRANSIENT = (ConnectionError, UpstreamError, TimeoutError)
ATTEMPT = 1.0  # seconds an attempt may take, for everybody


def attempt(client: int, upstream: Upstream) -> Call:
    async def once() -> None:
        async with asyncio.timeout(ATTEMPT):
            await upstream.request(client)

    return once


# --- prodkit, one configuration for the whole trace -----------------------------------------------------------------


def countable(error: Exception) -> bool:
    """What says that the upstream is ill: being throttled does not."""
    return getattr(error, "status", None) != 429


def overloaded(error: BaseException) -> bool:
    return isinstance(error, TimeoutError) or getattr(error, "status", None) == 503


def prodkit_stack(client: int, upstream: Upstream) -> Call:
    runtime = pk.Runtime(rng=random.Random(client))
    pipeline = pk.Pipeline(
        pk.Retry(
            5, on=TRANSIENT, wait=full_jitter(base=0.1), budget=RetryBudget(runtime=runtime), runtime=runtime
        ),
        pk.CircuitBreaker(
            "upstream",
            failures=10,
            failure_rate=0.6,
            window_seconds=5,
            open_for=0.5,
            open_growth=2,
            max_open_for=1.5,
            open_jitter=0.3,
            on=countable,
            runtime=runtime,
        ),
        RetryAfterGate("upstream", runtime=runtime),
        AdaptiveLimit(overloaded=overloaded, runtime=runtime),
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


STACKS: dict[str, Callable[[int, Upstream], Call]] = {
    "prodkit": prodkit_stack,
    "no retry": no_retry,
    "naive, 5 immediate": naive,
    "tenacity, 5, full jitter": tenacity_jitter,
    "stamina, defaults": stamina_defaults,
    "stamina, 3 s, Retry-After hook": stamina_hook,
    "tenacity + pybreaker": pybreaker,
    "tenacity + aiobreaker": aiobreaker,
    "tenacity + interlock-cb": interlock,
    "nopanic budget+breaker+deadline": nopanic,
    "pyresilience": pyresilience,
}


# --- peers that read the system's clocks ----------------------------------------------------------------------------


def _now() -> float:
    try:
        return asyncio.get_running_loop().time()
    except RuntimeError:
        return _REAL()


_REAL = time.monotonic

import datetime as _datetime  # noqa: E402


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


# --- the table ------------------------------------------------------------------------------------------------------

COLUMNS = (
    ("goodput %", lambda r: 100 * r.goodput),
    ("amplification", lambda r: r.amplification),
    ("outage ampl.", lambda r: r["outage"].amplification),
    ("outage fail p99 s", lambda r: r["outage"].p99),
    ("recovery s", lambda r: _number(r["after outage"].recovered_after)),
    ("brownout %", lambda r: 100 * r["brownout"].answered),
    ("after it %", lambda r: 100 * r["after brownout"].answered),
    ("429 %", lambda r: 100 * r["throttle"].answered),
    ("violations", lambda r: r.violations),
    ("30 % errors %", lambda r: 100 * r["partial"].answered),
    ("its ampl.", lambda r: r["partial"].amplification),
    ("wasted", lambda r: r.wasted),
)


def _number(value: float | None) -> float:
    return float("inf") if value is None else value


def row(name: str, reports: Iterable[Report], strict: Iterable[Report]) -> str:
    cells = [f"{statistics.median(get(r) for r in reports):.4g}" for _, get in COLUMNS]
    cells.append(f"{100 * statistics.median(r['throttle'].answered for r in strict):.1f}")
    return f"| {name} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("stacks", nargs="*", help="parts of the names to run (default: all)")
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    patch_clocks()
    print(
        f"| stack (median of {options.seeds} seeds) | {' | '.join(n for n, _ in COLUMNS)} | strict quota 429 % |"
    )
    print("|---" * (len(COLUMNS) + 2) + "|")
    for name, stack in STACKS.items():
        if options.stacks and not any(part in name for part in options.stacks):
            continue
        seeds = range(1, options.seeds + 1)
        try:
            reports = [run_trace(stack, seed=seed) for seed in seeds]
            strict = [run_trace(stack, seed=seed, strict_quota=True) for seed in seeds]
        except ImportError as missing:
            print(f"| {name} | not installed: {missing.name} |")
            continue
        print(row(name, reports, strict), flush=True)


if __name__ == "__main__":
    main()
