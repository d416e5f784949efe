"""What a guarded call costs when nothing fails: ratios to the bare call, ours and the peers' in one run.

    python benchmarks/overhead.py                    # everything that is installed
    python benchmarks/overhead.py --ours             # without the peers
    python benchmarks/overhead.py --calls 5000 --rounds 40 retry

Each figure is the median over rounds of (guarded / bare), where both halves of a round run one after the
other, in CPU time of the thread, so that a busy machine does not matter. Peers are taken from the environment that
runs this; one that is not installed is listed as skipped.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import gc
import inspect
import logging
import statistics
import sys
import time
import warnings
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import overhead_peers as peers

import prodkit as pk
from prodkit import policies

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


class Boom(Exception):
    pass


@dataclass(frozen=True)
class Case:
    """One line of a table: how to make the decorator, and the goal it has to meet."""

    name: str
    make: Callable[[], Decorator | Awaitable[Decorator]]
    goal: float | None = None


async def anoop(x: int) -> int:
    return x


def noop(x: int) -> int:
    return x


def consecutive() -> Decorator:
    return pk.CircuitBreaker("b", failures=5, failure_rate=None)


def everything() -> Decorator:
    return pk.CircuitBreaker("b", failures=5, slow_call_rate=0.5, slow_after=1.0, window_seconds=10)


def full_pipeline(*more: pk.policies.Policy) -> Decorator:
    """Fallback, retry, budget, breaker, limit, as far as this checkout has them."""
    chain: list[Any] = [pk.Retry(attempts=3, on=Boom, budget=policies.RetryBudget()), pk.CircuitBreaker("p")]
    if hasattr(policies, "Fallback"):
        chain.insert(0, policies.Fallback(None, on=Boom))
    if hasattr(policies, "Bulkhead"):
        chain.append(policies.Bulkhead(100))
    return pk.Pipeline(*chain, *more)


def asyncio_timeout(fn: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(fn)
    async def timed(*args: Any) -> Any:
        async with asyncio.timeout(5.0):
            return await fn(*args)

    return timed


OURS_BREAKER = [
    Case("prodkit, 5 in a row only", consecutive, 4.0),
    Case("prodkit, defaults (5 in a row, 60 % of 100)", lambda: pk.CircuitBreaker("b"), 4.0),
    Case("prodkit, time window + slow calls + rate", everything, 7.0),
]
OURS_RETRY = [
    Case("prodkit Retry", lambda: pk.Retry(attempts=3, on=Boom), 4.0),
    Case("prodkit Retry + budget", lambda: pk.Retry(attempts=3, on=Boom, budget=policies.RetryBudget()), 6.0),
]
OURS_PIPELINES = [
    Case("prodkit fallback+retry+budget+breaker+limit", full_pipeline, 15.0),
    Case("asyncio.timeout alone", lambda: asyncio_timeout),
    Case("prodkit Timeout alone", lambda: pk.Timeout(5)),
    Case("prodkit the same pipeline + Timeout", lambda: full_pipeline(pk.Timeout(5))),
]


async def timed_async(fn: Callable[[int], Awaitable[Any]], calls: int) -> float:
    start = time.thread_time()
    for _ in range(calls):
        await fn(1)
    return time.thread_time() - start


async def timed_failing(fn: Callable[[int], Awaitable[Any]], calls: int) -> float:
    start = time.thread_time()
    for _ in range(calls):
        try:  # noqa: SIM105 - contextlib.suppress would cost more than what is measured
            await fn(1)
        except BaseException:
            pass
    return time.thread_time() - start


def timed_sync(fn: Callable[[int], Any], calls: int) -> float:
    start = time.thread_time()
    for _ in range(calls):
        fn(1)
    return time.thread_time() - start


async def made(case: Case) -> Decorator:
    decorator = case.make()
    return await decorator if inspect.isawaitable(decorator) else decorator


async def closed(case: Case, calls: int, rounds: int) -> float:
    guarded = (await made(case))(anoop)
    await timed_async(guarded, calls // 4)
    return await median(timed_async, anoop, guarded, calls, rounds)


async def opened(case: Case, calls: int, rounds: int) -> tuple[float, int]:
    """The ratio of a refusal to a bare raise, and how many calls leaked to the upstream."""
    reached = 0

    async def failing(x: int) -> int:
        nonlocal reached
        reached += 1
        raise Boom("x")

    prepared = Boom("x")

    async def bare(x: int) -> int:
        raise prepared

    guarded = (await made(case))(failing)
    await timed_failing(guarded, 400)
    reached = 0
    return await median(timed_failing, bare, guarded, calls // 4, rounds), reached


async def median(measure: Any, bare: Any, guarded: Any, calls: int, rounds: int) -> float:
    ratios = []
    gc.collect()
    for _ in range(rounds):
        base, cost = await measure(bare, calls), await measure(guarded, calls)
        ratios.append(cost / base)
    return statistics.median(ratios)


def closed_sync(case: Case, calls: int, rounds: int) -> float:
    decorator = case.make()
    assert not inspect.isawaitable(decorator)
    guarded = decorator(noop)
    timed_sync(guarded, calls // 4)
    ratios = []
    gc.collect()
    for _ in range(rounds):
        base, cost = timed_sync(noop, calls), timed_sync(guarded, calls)
        ratios.append(cost / base)
    return statistics.median(ratios)


def line(case: Case, text: str, measured: float) -> None:
    goal = (
        ""
        if case.goal is None
        else f"  goal <= x{case.goal:g}  {'ok' if measured <= case.goal else 'MISSED'}"
    )
    print(f"  {case.name:52s} {text}{goal}", flush=True)


def cases(ours: list[Case], named: dict[str, Any], only_ours: bool) -> list[Case]:
    return ours if only_ours else ours + [Case(name, make) for name, make in named.items()]


async def main_async(options: argparse.Namespace) -> None:
    calls, rounds, wanted = options.calls, options.rounds, options.tables
    if not wanted or "breaker" in wanted:
        print("\nasync breaker, closed, ratio to a bare await; open, ratio to a bare raise (calls leaked)")
        for case in cases(OURS_BREAKER, peers.BREAKERS, options.ours):
            try:
                ratio = await closed(case, calls, rounds)
                refusal, leaked = await opened(case, calls, rounds)
            except ImportError as missing:
                print(f"  {case.name:52s} skipped: {missing.name} is not installed")
                continue
            line(case, f"x{ratio:6.1f}   open x{refusal:5.2f} ({leaked} leaked)", ratio)
    for table, ours, named in (
        ("retry", OURS_RETRY, peers.RETRIES),
        ("pipeline", OURS_PIPELINES, peers.PIPELINES),
    ):
        if wanted and table not in wanted:
            continue
        print(f"\nasync {table}, no failure, ratio to a bare await")
        alone = None
        for case in cases(ours, named, options.ours):
            try:
                ratio = await closed(case, calls, rounds)
            except ImportError as missing:
                print(f"  {case.name:52s} skipped: {missing.name} is not installed")
                continue
            if case.name.startswith("asyncio.timeout"):
                alone = ratio
            beside = f"   = {ratio / alone:.2f} x asyncio.timeout" if alone and "Timeout" in case.name else ""
            line(case, f"x{ratio:6.1f}{beside}", ratio)


def main_sync(options: argparse.Namespace) -> None:
    if options.tables and "sync" not in options.tables:
        return
    print("\nsync, closed or no failure, ratio to a bare call")
    ours = [
        Case("prodkit breaker, 5 in a row only", consecutive, 12.0),
        Case("prodkit breaker, defaults", lambda: pk.CircuitBreaker("b"), 12.0),
        Case("prodkit breaker, window + slow + rate", everything),
        Case("prodkit Retry", lambda: pk.Retry(attempts=3, on=Boom)),
    ]
    for case in cases(ours, peers.SYNC, options.ours):
        try:
            ratio = closed_sync(case, options.calls, options.rounds)
        except ImportError as missing:
            print(f"  {case.name:52s} skipped: {missing.name} is not installed")
            continue
        line(case, f"x{ratio:6.1f}", ratio)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tables", nargs="*", help="breaker, retry, pipeline, sync; all when none is given")
    parser.add_argument("--calls", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=75)
    parser.add_argument("--ours", action="store_true", help="leave the peers out")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    print(f"CPython {sys.version.split()[0]}, {options.calls} calls, median of {options.rounds} rounds")
    asyncio.run(main_async(options))
    main_sync(options)


if __name__ == "__main__":
    main()
