"""Cost of a guarded call when nothing fails: ratios to the bare call, ours and the peers' in one run.

    python -m benchmarks.overhead                    # everything that is installed
    python -m benchmarks.overhead --ours             # without the peers
    python -m benchmarks.overhead --calls 5000 --rounds 40 retry

Each figure is the median over rounds of (guarded / bare), where both halves of a round run one after the
other, in CPU time of the thread, so that a busy machine does not matter. The harness's own rounds call a function
without arguments; here the arguments are a part of the cost, so the loops below pass one. Peers are taken from the
environment that runs this; one that is not installed is listed as skipped.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import gc
import inspect
import logging
import statistics
import time
import warnings
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import prodkit as pk
from benchmarks import overhead_peers as peers
from benchmarks.harness import Table, run
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

OURS_SYNC = [
    Case("sync: prodkit breaker, 5 in a row only", consecutive, 12.0),
    Case("sync: prodkit breaker, defaults", lambda: pk.CircuitBreaker("b"), 12.0),
    Case("sync: prodkit breaker, window + slow + rate", everything, 15.0),
    Case("sync: prodkit Retry", lambda: pk.Retry(attempts=3, on=Boom), 6.0),
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

    async def bare(x: int) -> int:
        raise Boom("x")  # a new one, as a dependency's: the traceback of a kept one grows with each raise

    guarded = (await made(case))(failing)
    await timed_failing(guarded, 400)
    reached = 0
    return await median(timed_failing, bare, guarded, calls // 4, rounds), reached


async def median(measure: Any, bare: Any, guarded: Any, calls: int, rounds: int) -> float:
    ratios: list[float] = []
    for _ in range(rounds):
        gc.collect()  # each raise leaves a traceback behind: both halves meet the collector in the same state
        base, cost = await measure(bare, calls), await measure(guarded, calls)
        ratios.append(cost / base)
    return float(statistics.median(ratios))


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


async def peers_of(named: dict[str, Any], measure: Any, table: Table) -> dict[str, Any]:
    """Return the figures of the peers; one that is not installed is noted."""
    found: dict[str, Any] = {}
    for name, make in named.items():
        try:
            figure = measure(Case(name, make))
            found[name] = await figure if inspect.isawaitable(figure) else figure
        except ImportError as missing:
            table.note(f"{name}: {missing.name} is not installed")
    return found


async def measured(options: argparse.Namespace, table: Table) -> None:
    """Measure the async policies."""
    calls, rounds = options.calls, options.rounds

    def wanted(name: str) -> bool:
        return not options.tables or name in options.tables

    async def both(case: Case) -> tuple[float, tuple[float, int]]:
        return await closed(case, calls, rounds), await opened(case, calls, rounds)

    def named(group: dict[str, Any]) -> dict[str, Any]:
        return {} if options.ours else group

    leaks = 0
    if wanted("breaker"):
        others = await peers_of(named(peers.BREAKERS), both, table)
        for case in OURS_BREAKER:
            ratio, (refusal, leaked) = await both(case)
            leaks += leaked
            beside = others if case is OURS_BREAKER[1] else {}
            shut = {name: figure[0] for name, figure in beside.items()}
            table.add(f"{case.name}: closed", ratio, ceiling=case.goal, peers=shut)
            refused = {name: figure[1][0] for name, figure in beside.items()}
            table.add(f"{case.name}: a refusal over a bare raise", refusal, ceiling=2.0, peers=refused)
        table.add("calls that leaked through an open breaker", leaks, ceiling=0, unit="calls")
    for name, ours, group in (
        ("retry", OURS_RETRY, peers.RETRIES),
        ("pipeline", OURS_PIPELINES, peers.PIPELINES),
    ):
        if wanted(name):
            others = await peers_of(named(group), lambda case: closed(case, calls, rounds), table)
            for case in ours:
                beside = others if case is ours[0] else {}
                table.add(case.name, await closed(case, calls, rounds), ceiling=case.goal, peers=beside)


def measured_sync(options: argparse.Namespace, table: Table) -> None:
    """Measure the plain functions where no event loop runs."""

    def measure(case: Case) -> float:
        return closed_sync(case, options.calls, options.rounds)

    others = asyncio.run(peers_of({} if options.ours else peers.SYNC, measure, table))
    for case in OURS_SYNC:
        beside = others if case is OURS_SYNC[1] else {}
        table.add(case.name, measure(case), ceiling=case.goal, peers=beside)


def main(options: argparse.Namespace) -> Table:
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    table = Table("overhead", "cost of a guarded call when nothing fails, over the bare call")
    asyncio.run(measured(options, table))
    if not options.tables or "sync" in options.tables:
        measured_sync(options, table)
    return table


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("tables", nargs="*", help="breaker, retry, pipeline, sync; all when none is given")
    parser.add_argument("--calls", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=75)
    parser.add_argument("--ours", action="store_true", help="leave the peers out")


if __name__ == "__main__":
    run(main, arguments)
