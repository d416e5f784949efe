"""The dependency of the fault trace: finite workers, a bounded first-come queue, faults by the clock."""

from __future__ import annotations

import asyncio
import random
from collections import Counter, deque
from dataclasses import dataclass
from typing import Final, Literal, Protocol, TypeAlias

__all__ = ["TRACE", "Fault", "Phase", "Tally", "Upstream", "UpstreamError"]

Fault: TypeAlias = Literal["none", "refused", "slow", "throttled", "failing"]
"""A fault: connections refused, slower work, a quota with ``Retry-After``, errors at once."""

WORKERS: Final = 10
SERVICE: Final = 0.070  # mean seconds of work: 143 answers a second, so 70 % are used in health
QUEUE: Final = 300
LATENCY: Final = 0.003  # of the network, one way
QUOTA: Final = 50.0  # requests per second while throttled
BURST: Final = 5.0
SLOWDOWN: Final = 4.0
FAILING: Final = 0.30


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of the trace with one fault.

    Args:
        name: in reports.
        seconds: its length.
        fault: see :data:`Fault`.
        strength: factor of slower work, share of failing requests (0 to 1), or quota in requests per second; the
            trace's own value when None.
        load: number of calls, in proportion to the usual one.
    """

    name: str
    seconds: float
    fault: Fault = "none"
    strength: float | None = None
    load: float = 1.0


TRACE: Final = (
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
    """An answer with an error status.

    Args:
        status: the HTTP status.
        retry_after: seconds to wait, where the upstream names them.
    """

    def __init__(self, status: int = 500, retry_after: float | None = None) -> None:
        super().__init__(status, retry_after)
        self.status: int = status
        self.retry_after: float | None = retry_after


class Tally(Protocol):
    """The counts of an upstream while the trace runs."""

    requests: Counter[str]
    """By the name of the phase in which they were sent."""
    violations: int
    wasted: int


class Upstream:
    """The dependency of the trace.

    Args:
        trace: phases in order.
        seed: of its randomness.
        strict_quota: refused requests count against the quota, as with several API providers.
        began: instant of the loop at which the trace begins; now by default.
    """

    def __init__(
        self,
        trace: tuple[Phase, ...] = TRACE,
        *,
        seed: int = 1,
        strict_quota: bool = False,
        began: float | None = None,
    ) -> None:
        self.trace: tuple[Phase, ...] = trace
        self.strict_quota: bool = strict_quota
        self.requests: Counter[str] = Counter()
        self.violations: int = 0
        """Requests sent within a Retry-After window that this client knew."""
        self.wasted: int = 0
        """Answers for callers that had left."""
        self.wasted_at: list[float] = []
        """The instants of the wasted answers, since the beginning of the trace."""
        self._rng = random.Random(seed)
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time() if began is None else began
        self._queue: deque[asyncio.Future[None]] = deque()
        self._busy = 0
        self._tokens, self._tokens_at = BURST, self._began
        self._silent_until: dict[int, float] = {}

    def phase(self) -> Phase:
        """Return the current phase."""
        elapsed = self._loop.time() - self._began
        for phase in self.trace:
            elapsed -= phase.seconds
            if elapsed < 0:
                return phase
        return Phase("end", 0)

    async def request(self, client: int) -> None:
        """Serve one request of `client`: answer in its own time, or raise ConnectionError or :class:`UpstreamError`."""
        phase = self.phase()
        self.requests[phase.name] += 1
        if self._loop.time() < self._silent_until.get(client, 0.0) - 1e-6:
            self.violations += 1
        await asyncio.sleep(LATENCY)
        match phase.fault:
            case "refused":
                raise ConnectionRefusedError("connection refused")
            case "throttled":
                self._spend(client, QUOTA if phase.strength is None else phase.strength)
            case "failing" if self._rng.random() < (FAILING if phase.strength is None else phase.strength):
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

    def _spend(self, client: int, quota: float) -> None:
        now = self._loop.time()
        self._tokens = min(BURST, self._tokens + (now - self._tokens_at) * quota)
        self._tokens_at = now
        if self._tokens < 1:
            self._silent_until[client] = now + 1.0
            if self.strict_quota:  # refused requests count too, as several API providers have it
                self._tokens = max(-25.0, self._tokens - 1)
            raise UpstreamError(429, retry_after=1.0)
        self._tokens -= 1

    def _work(self) -> None:
        while self._busy < WORKERS and self._queue:
            answer = self._queue.popleft()
            self._busy += 1
            phase = self.phase()
            slower = (
                (SLOWDOWN if phase.strength is None else phase.strength) if phase.fault == "slow" else 1.0
            )
            self._loop.call_later(SERVICE * slower * self._rng.lognormvariate(-0.08, 0.4), self._done, answer)

    def _done(self, answer: asyncio.Future[None]) -> None:
        self._busy -= 1
        if answer.done():
            self.wasted += 1
            self.wasted_at.append(self._loop.time() - self._began)
        else:
            answer.set_result(None)
        self._work()
