"""A fault trace, and what your configuration makes of it: goodput, amplification, recovery.

Four client processes' worth of callers ask one upstream 25 times a second each, for 195 s of virtual time that pass in
a few real ones. The upstream has ten workers and a queue, and it keeps working for callers that have left, which is
what turns a short overload into a lasting one (*metastable failures*, HotOS 2021). In turn it refuses connections,
becomes four times slower, limits its rate with ``Retry-After`` and fails three requests in ten, with healthy stretches
between. An answer counts if it comes within three seconds of the wish.

::

    def stack(client: int, upstream: Upstream) -> Call:
        return Pipeline(Retry(...), CircuitBreaker(...), Timeout(1.0))(partial(upstream.request, client))

    report = run_trace(stack, seed=1)
    print(report.goodput, report["brownout"].answered)
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

from prodkit.core.deadline import Deadline
from prodkit.testing.loop import virtual_time

__all__ = [
    "TRACE",
    "Call",
    "Phase",
    "PhaseReport",
    "Report",
    "Tally",
    "Upstream",
    "UpstreamError",
    "drive",
    "replay",
    "run_trace",
]

Call: TypeAlias = Callable[[], Awaitable[object]]
Stack: TypeAlias = Callable[[int, "Upstream"], Call]
Fault: TypeAlias = Literal["none", "refused", "slow", "throttled", "failing"]

CLIENTS = 4
RATE = 25.0  # wishes per second and client, Poisson
PATIENCE = 3.0  # seconds until an answer is of no use
WORKERS = 10
SERVICE = 0.070  # mean seconds of work: 143 answers a second, so 70 % are used in health
QUEUE = 300
LATENCY = 0.003  # of the network, one way
QUOTA = 50.0  # requests per second while throttled
BURST = 5.0
SLOWDOWN = 4.0
FAILING = 0.30


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of the trace in which one thing is wrong."""

    name: str
    seconds: float
    fault: Fault = "none"


TRACE = (
    Phase("normal", 20),
    Phase("outage", 20, "refused"),
    Phase("after outage", 25),
    Phase("brownout", 20, "slow"),
    Phase("after brownout", 35),
    Phase("throttle", 20, "throttled"),
    Phase("after throttle", 20),
    Phase("partial", 20, "failing"),
    Phase("after partial", 15),
)


class UpstreamError(Exception):
    """An answer with an error status."""

    def __init__(self, status: int = 500, retry_after: float | None = None) -> None:
        super().__init__(status, retry_after)
        self.status: int = status
        self.retry_after: float | None = retry_after


class Tally(Protocol):
    """What an upstream counts while the trace runs."""

    requests: Counter[str]
    """By the name of the phase in which they were sent."""
    violations: int
    wasted: int


class Upstream:
    """The dependency: finite workers, a bounded first-come queue, faults by the clock."""

    def __init__(
        self,
        trace: tuple[Phase, ...] = TRACE,
        *,
        seed: int = 1,
        strict_quota: bool = False,
        began: float | None = None,
    ) -> None:
        """The trace begins at the loop's instant `began`, now by default."""
        self.trace: tuple[Phase, ...] = trace
        self.strict_quota: bool = strict_quota
        self.requests: Counter[str] = Counter()
        self.violations: int = 0  # requests sent inside a Retry-After window that this client had been told
        self.wasted: int = 0  # answers for callers that had left
        self._rng = random.Random(seed)
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time() if began is None else began
        self._queue: deque[asyncio.Future[None]] = deque()
        self._busy = 0
        self._tokens, self._tokens_at = BURST, self._began
        self._told: dict[int, float] = {}

    def phase(self) -> Phase:
        """What is wrong now."""
        elapsed = self._loop.time() - self._began
        for phase in self.trace:
            elapsed -= phase.seconds
            if elapsed < 0:
                return phase
        return Phase("end", 0)

    async def request(self, client: int) -> None:
        """One request. Raises ConnectionError or :class:`UpstreamError`, or answers in its own time."""
        phase = self.phase()
        self.requests[phase.name] += 1
        if self._loop.time() < self._told.get(client, 0.0) - 1e-6:
            self.violations += 1
        await asyncio.sleep(LATENCY)
        match phase.fault:
            case "refused":
                raise ConnectionRefusedError("connection refused")
            case "throttled":
                self._spend(client)
            case "failing" if self._rng.random() < FAILING:
                await asyncio.sleep(0.02)
                raise UpstreamError(500)
            case _:
                pass
        if len(self._queue) >= QUEUE:
            raise UpstreamError(503)
        answer = self._loop.create_future()
        self._queue.append(answer)
        self._work()
        await answer

    def _spend(self, client: int) -> None:
        now = self._loop.time()
        self._tokens = min(BURST, self._tokens + (now - self._tokens_at) * QUOTA)
        self._tokens_at = now
        if self._tokens < 1:
            self._told[client] = now + 1.0
            if self.strict_quota:  # refused requests count too, as several API providers have it
                self._tokens = max(-25.0, self._tokens - 1)
            raise UpstreamError(429, retry_after=1.0)
        self._tokens -= 1

    def _work(self) -> None:
        while self._busy < WORKERS and self._queue:
            answer = self._queue.popleft()
            self._busy += 1
            slower = SLOWDOWN if self.phase().fault == "slow" else 1.0
            self._loop.call_later(SERVICE * slower * self._rng.lognormvariate(-0.08, 0.4), self._done, answer)

    def _done(self, answer: asyncio.Future[None]) -> None:
        self._busy -= 1
        if answer.done():
            self.wasted += 1
        else:
            answer.set_result(None)
        self._work()


@dataclass(frozen=True, slots=True)
class PhaseReport:
    """One phase. Shares are of 1; times are seconds; percentiles are over all outcomes unless they say otherwise."""

    wishes: int
    answered: float
    amplification: float
    p99: float
    p99_answered: float
    recovered_after: float | None
    """The first second from which five in a row answer 99 %; None when that never happened."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a stack made of the trace."""

    goodput: float
    amplification: float
    violations: int
    wasted: int
    phases: dict[str, PhaseReport] = field(default_factory=dict[str, PhaseReport])

    def __getitem__(self, phase: str) -> PhaseReport:
        return self.phases[phase]


@dataclass(frozen=True, slots=True)
class _Outcome:
    at: float
    good: bool
    took: float


def run_trace(stack: Stack, *, seed: int = 1, strict_quota: bool = False) -> Report:
    """Replays :data:`TRACE` on virtual time. `stack` makes the guarded call of one client; see :func:`replay`."""
    return virtual_time(replay(stack, seed=seed, strict_quota=strict_quota))


async def replay(
    stack: Stack, *, seed: int = 1, trace: tuple[Phase, ...] = TRACE, strict_quota: bool = False
) -> Report:
    """Replays `trace` on the running loop: run it on virtual time unless you have minutes.

    `stack(client, upstream)` is called once a client and returns what is called for each wish, under a
    :class:`Deadline` of three seconds.
    """
    upstream = Upstream(trace, seed=seed, strict_quota=strict_quota)
    return await drive(
        [stack(client, upstream) for client in range(CLIENTS)], upstream, trace=trace, seed=seed
    )


async def drive(
    calls: Sequence[Call], upstream: Tally, *, trace: tuple[Phase, ...] = TRACE, seed: int = 1
) -> Report:
    """What :func:`replay` does, for an upstream of your own that keeps a :class:`Tally`.

    The trace begins now; `calls` holds one call for each client.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    outcomes: list[_Outcome] = []
    tasks: set[asyncio.Task[None]] = set()

    async def wish(at: float, client: int) -> None:
        asked = loop.time()
        try:
            with Deadline.after(PATIENCE):
                await calls[client]()
            good = loop.time() - asked <= PATIENCE
        except Exception:  # noqa: BLE001 - whatever a stack raises, the user got no answer
            good = False
        outcomes.append(_Outcome(at, good, loop.time() - asked))

    wishes = list(_wishes(sum(phase.seconds for phase in trace), seed))
    for at, client in wishes:
        if (ahead := began + at - loop.time()) > 0:
            await asyncio.sleep(ahead)
        task = asyncio.create_task(wish(at, client))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    if tasks:
        await asyncio.wait(tasks, timeout=60)
    for task in tuple(tasks):
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
    return _report(upstream, trace, wishes, outcomes)


def _wishes(seconds: float, seed: int) -> Iterator[tuple[float, int]]:
    rng = random.Random(f"wishes {seed}")
    at = 0.0
    while (at := at + rng.expovariate(RATE * CLIENTS)) < seconds:
        yield at, rng.randrange(CLIENTS)


def _report(
    upstream: Tally, trace: tuple[Phase, ...], wishes: list[tuple[float, int]], outcomes: list[_Outcome]
) -> Report:
    phases: dict[str, PhaseReport] = {}
    start = 0.0
    for phase in trace:
        end = start + phase.seconds
        inside = [each for each in outcomes if start <= each.at < end]
        wanted = sum(start <= at < end for at, _ in wishes)
        phases[phase.name] = PhaseReport(
            wishes=wanted,
            answered=sum(each.good for each in inside) / wanted,
            amplification=upstream.requests[phase.name] / wanted,
            p99=_percentile([each.took for each in inside], 0.99),
            p99_answered=_percentile([each.took for each in inside if each.good], 0.99),
            recovered_after=_recovered(inside, start, int(phase.seconds)),
        )
        start = end
    return Report(
        goodput=sum(each.good for each in outcomes) / len(wishes),
        amplification=sum(upstream.requests.values()) / len(wishes),
        violations=upstream.violations,
        wasted=upstream.wasted,
        phases=phases,
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
