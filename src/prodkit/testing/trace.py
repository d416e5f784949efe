"""A fault trace, and the report of a configuration under it: goodput, amplification, recovery.

Four client processes ask one upstream 25 times a second each, for 195 s of virtual time that pass in a few real ones.
The upstream has ten workers and a queue, and it keeps working for callers that have left, which turns a short overload
into a lasting one (*metastable failures*, HotOS 2021). In turn it refuses connections, becomes four times slower,
limits its rate with ``Retry-After`` and fails three requests in ten, with healthy stretches between. An answer counts
if it comes within three seconds of the call.

::

    def stack(client: int, upstream: Upstream) -> Call:
        return Pipeline(Retry(...), CircuitBreaker(...), Timeout(1.0))(partial(upstream.request, client))

    report = run_trace(stack, seed=1)
    print(report.goodput, report["brownout"].answered)

``prodkit replay`` runs it from the command line, also on a trace recorded in production.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

from prodkit.core.deadline import Deadline
from prodkit.errors import RejectedError
from prodkit.testing.loop import virtual_time
from prodkit.testing.trace_upstream import TRACE, Phase, Tally, Upstream, UpstreamError

__all__ = [
    "TRACE",
    "Call",
    "Phase",
    "PhaseReport",
    "Report",
    "Second",
    "Stack",
    "Tally",
    "Upstream",
    "UpstreamError",
    "drive",
    "replay",
    "run_trace",
]

Call: TypeAlias = Callable[[], Awaitable[object]]
Stack: TypeAlias = Callable[[int, Upstream], Call]
"""Makes the guarded call of one client from ``upstream.request(client)``."""

CLIENTS: Final = 4
RATE: Final = 25.0  # calls per second and client, Poisson
PATIENCE: Final = 3.0  # seconds until an answer is of no use


@dataclass(frozen=True, slots=True)
class PhaseReport:
    """The report of one phase. Percentiles are over all outcomes unless they say otherwise.

    Args:
        calls: calls made in the phase.
        answered: share of them that were answered in time, of 1.
        amplification: requests sent per call.
        p99: seconds until the 99th percentile of all outcomes.
        p99_answered: the same of the answers alone.
        recovered_after: the first second from which five in a row answer 99 %; None if that never happened.
    """

    calls: int
    answered: float
    amplification: float
    p99: float
    p99_answered: float
    recovered_after: float | None


@dataclass(frozen=True, slots=True)
class Second:
    """The outcomes of the calls that were made in one second.

    Args:
        at: the second, since the beginning of the trace.
        answered: answered in time.
        refused: refused by a policy, never sent.
        failed: failed, or answered too late.
        wasted: answers of the upstream for callers that had left.
    """

    at: int
    answered: int
    refused: int
    failed: int
    wasted: int


@dataclass(frozen=True, slots=True)
class Report:
    """The report of a configuration under a trace.

    Args:
        goodput: share of all calls that were answered in time, of 1.
        amplification: requests sent per call.
        violations: requests sent within a Retry-After window that the client knew.
        wasted: answers of the upstream for callers that had left.
        phases: by name.
        seconds: outcomes over time.
    """

    goodput: float
    amplification: float
    violations: int
    wasted: int
    phases: dict[str, PhaseReport] = field(default_factory=dict[str, PhaseReport])
    seconds: tuple[Second, ...] = ()

    def __getitem__(self, phase: str) -> PhaseReport:
        return self.phases[phase]


@dataclass(frozen=True, slots=True)
class _Outcome:
    at: float
    kind: Literal["answered", "refused", "failed"]
    took: float

    @property
    def good(self) -> bool:
        return self.kind == "answered"


def run_trace(
    stack: Stack, *, seed: int = 1, trace: tuple[Phase, ...] = TRACE, strict_quota: bool = False
) -> Report:
    """Replay a trace on virtual time and return the report.

    Args:
        stack: makes the guarded call of one client.
        seed: of the calls and of the upstream; the same seed gives the same report.
        trace: phases in order.
        strict_quota: refused requests count against the quota.
    """
    return virtual_time(replay(stack, seed=seed, trace=trace, strict_quota=strict_quota))


async def replay(
    stack: Stack, *, seed: int = 1, trace: tuple[Phase, ...] = TRACE, strict_quota: bool = False
) -> Report:
    """Replay a trace on the running loop; on real time it takes as long as its phases.

    ``stack(client, upstream)`` is called once a client and returns the call, which runs under a :class:`Deadline` of
    three seconds.

    Args:
        stack: makes the guarded call of one client.
        seed: of the calls and of the upstream.
        trace: phases in order.
        strict_quota: refused requests count against the quota.
    """
    upstream = Upstream(trace, seed=seed, strict_quota=strict_quota)
    return await drive(
        [stack(client, upstream) for client in range(CLIENTS)], upstream, trace=trace, seed=seed
    )


async def drive(
    calls: Sequence[Call], upstream: Tally, *, trace: tuple[Phase, ...] = TRACE, seed: int = 1
) -> Report:
    """Replay a trace against an upstream of your own that keeps a :class:`Tally`; it begins now.

    Args:
        calls: one call for each client.
        upstream: counts requests, violations and wasted work.
        trace: phases in order.
        seed: of the calls.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    outcomes: list[_Outcome] = []
    tasks: set[asyncio.Task[None]] = set()

    async def ask(at: float, client: int) -> None:
        asked = loop.time()
        kind: Literal["answered", "refused", "failed"]
        try:
            with Deadline.after(PATIENCE):
                await calls[client]()
            kind = "answered" if loop.time() - asked <= PATIENCE else "failed"
        except RejectedError:
            kind = "refused"
        except Exception:  # noqa: BLE001 - whatever a stack raises, the user got no answer
            kind = "failed"
        outcomes.append(_Outcome(at, kind, loop.time() - asked))

    arrivals = list(_arrivals(trace, seed))
    for at, client in arrivals:
        if (ahead := began + at - loop.time()) > 0:
            await asyncio.sleep(ahead)
        task = asyncio.create_task(ask(at, client))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    if tasks:
        await asyncio.wait(tasks, timeout=60)
    for task in tuple(tasks):
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
    return _report(upstream, trace, arrivals, outcomes)


def _arrivals(trace: tuple[Phase, ...], seed: int) -> Iterator[tuple[float, int]]:
    """Yield instant and client of each call: Poisson, at the rate of the phase in which the call before it was made."""
    rng = random.Random(f"wishes {seed}")
    at = end = 0.0
    for phase in trace:
        end += phase.seconds
        if phase.load <= 0:
            at = max(at, end)
        while at < end:
            at += rng.expovariate(RATE * CLIENTS * phase.load)
            if at < end or phase is not trace[-1]:
                yield at, rng.randrange(CLIENTS)


def _report(
    upstream: Tally, trace: tuple[Phase, ...], arrivals: list[tuple[float, int]], outcomes: list[_Outcome]
) -> Report:
    phases: dict[str, PhaseReport] = {}
    start = 0.0
    for phase in trace:
        end = start + phase.seconds
        inside = [each for each in outcomes if start <= each.at < end]
        wanted = max(1, sum(start <= at < end for at, _ in arrivals))
        phases[phase.name] = PhaseReport(
            calls=wanted,
            answered=sum(each.good for each in inside) / wanted,
            amplification=upstream.requests[phase.name] / wanted,
            p99=_percentile([each.took for each in inside], 0.99),
            p99_answered=_percentile([each.took for each in inside if each.good], 0.99),
            recovered_after=_recovered(inside, start, int(phase.seconds)),
        )
        start = end
    return Report(
        goodput=sum(each.good for each in outcomes) / len(arrivals),
        amplification=sum(upstream.requests.values()) / len(arrivals),
        violations=upstream.violations,
        wasted=upstream.wasted,
        phases=phases,
        seconds=_seconds(outcomes, getattr(upstream, "wasted_at", ()), int(start)),
    )


def _seconds(outcomes: list[_Outcome], wasted: Any, length: int) -> tuple[Second, ...]:
    counts: Counter[tuple[int, str]] = Counter((int(each.at), each.kind) for each in outcomes)
    waste = Counter(int(at) for at in wasted)
    return tuple(
        Second(at, counts[at, "answered"], counts[at, "refused"], counts[at, "failed"], waste[at])
        for at in range(length)
    )


def _percentile(values: list[float], share: float) -> float:
    if not values:
        return float("nan")
    values.sort()
    return values[min(len(values) - 1, int(share * len(values)))]


def _recovered(outcomes: list[_Outcome], start: float, seconds: int) -> float | None:
    wanted: Counter[int] = Counter()
    good: Counter[int] = Counter()
    for each in outcomes:
        wanted[int(each.at - start)] += 1
        good[int(each.at - start)] += each.good
    for second in range(seconds - 4):
        if all(good[second + i] >= 0.99 * max(1, wanted[second + i]) for i in range(5)):
            return float(second)
    return None
