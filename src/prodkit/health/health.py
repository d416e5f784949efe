"""One report over all parts.

Health endpoints are asked by balancers, orchestrators, dashboards and the curious, all at once, and mostly when
something hangs. So each dependency is looked at once per `ttl`, however many ask; a look that takes longer than
`timeout` is a verdict; and whoever asks while a dependency hangs gets the last verdict after `patience` seconds
instead of standing in the queue.

In a Starlette or FastAPI app: ``app.router.routes.extend(prodkit.web.health_routes(health))``. Liveness is not a
method here: a process that answers is alive, and asking its dependencies would restart it for their faults.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Iterable
from dataclasses import dataclass
from types import MappingProxyType

from prodkit.core.check import Check, CheckResult, Status
from prodkit.core.events import Event, Metric
from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.health.report import CheckReport, HealthReport, overall

__all__ = ["CheckChanged", "Health"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckChanged(Event):
    """A part went from one status to another. The first verdict is told only when it is not ``up``."""

    name = "health.changed"
    level = "WARNING"
    metric = Metric("health_changes", labels=("check", "after"), help="Changes of a health check's status.")
    check: str
    before: Status
    after: Status
    reason: str


class Health:
    """The health of everything that is given to it.

    ::

        health = pk.Health(db, redis, claude, optional=(perplexity,))
        report = await health.report()
        report.status            # "up", "degraded" or "down"

    A part that can still serve reports ``degraded`` itself, as ``RedisLink`` does without Redis. Parts named in
    `optional` degrade the service even when they are ``down``; give them there, or in both places.

    `timeout` bounds one check, `ttl` is how long a verdict is believed, `patience` is how long :meth:`report`
    waits for a check that has an older verdict to fall back on; a part that was never looked at is waited for up
    to `timeout`. All in seconds.
    """

    def __init__(
        self,
        *checks: Check,
        optional: Iterable[Check] = (),
        timeout: float = 2.0,
        ttl: float = 2.0,
        patience: float = 0.05,
        runtime: Runtime = SYSTEM,
    ) -> None:
        spare = tuple(optional)
        problems = [
            f"{what} must be positive, got {value!r}"
            for what, value in (("timeout", timeout), ("ttl", ttl), ("patience", patience))
            if not value > 0
        ]
        everything: list[Check] = []
        given: tuple[object, ...] = (*checks, *spare)
        for check in given:
            if not isinstance(check, Check):
                problems.append(f"{check!r} has no name and async check()")
            elif not any(check is known for known in everything):
                everything.append(check)
        names = [check.name for check in everything]
        problems += [
            f"two parts are called {name!r}" for name in sorted({n for n in names if names.count(n) > 1})
        ]
        if problems:
            raise ValueError("Health: " + "; ".join(problems))
        self.timeout = timeout
        self.ttl = ttl
        self.patience = patience
        self._runtime = runtime
        self._probes = tuple(
            _Probe(check, not any(check is each for each in spare), timeout, runtime) for check in everything
        )

    async def report(self) -> HealthReport:
        """The state of all parts, not older than `ttl` save for one that does not answer.

        Never raises for what a check does. Cancelling the caller leaves the checks running for the others.
        """
        loop = asyncio.get_running_loop()
        waiting: dict[_Probe, asyncio.Task[None]] = {}
        for probe in self._probes:
            task = probe.refresh(loop, self.ttl)
            if task is not None:
                waiting[probe] = task
        if waiting:
            await asyncio.wait(waiting.values(), timeout=self.patience)
            unknown = [task for probe, task in waiting.items() if not probe.known and not task.done()]
            if unknown:
                await asyncio.wait(unknown, timeout=self.timeout + self.patience)
        now = self._runtime.clock.monotonic()
        reports = {probe.check.name: probe.report(now) for probe in self._probes}
        return HealthReport(overall(reports.values()), MappingProxyType(reports), self._runtime.clock.now())

    def __repr__(self) -> str:
        names = ", ".join(p.check.name + ("" if p.critical else "?") for p in self._probes)
        return f"Health({names}; timeout={self.timeout}, ttl={self.ttl})"


class _Probe:
    """One check with its latest verdict; at most one look at a time, whatever happens to those who wait."""

    __slots__ = (
        "_at",
        "_look",
        "_loop",
        "_result",
        "_runtime",
        "_seconds",
        "_timeout",
        "_watch",
        "check",
        "critical",
    )

    def __init__(self, check: Check, critical: bool, timeout: float, runtime: Runtime) -> None:
        self.check = check
        self.critical = critical
        self._timeout = timeout
        self._runtime = runtime
        self._loop: asyncio.AbstractEventLoop | None = None
        self._forget()

    def _forget(self) -> None:
        self._result: CheckResult | None = None
        self._at = 0.0
        self._seconds = 0.0
        self._look: asyncio.Task[CheckResult] | None = None
        self._watch: asyncio.Task[None] | None = None

    @property
    def known(self) -> bool:
        return self._result is not None

    def refresh(self, loop: asyncio.AbstractEventLoop, ttl: float) -> asyncio.Task[None] | None:
        """The look in progress, started where the verdict is older than `ttl`; None where there is no need."""
        if self._loop is not loop:
            self._loop = loop
            self._forget()
        if self._watch is not None and not self._watch.done():
            return self._watch
        if self._result is not None and self._runtime.clock.monotonic() - self._at < ttl:
            return None
        # A context of its own: the Deadline and the request id of whoever happened to ask first are not the check's.
        self._watch = loop.create_task(self._observe(), context=contextvars.Context())
        return self._watch

    async def _observe(self) -> None:
        clock = self._runtime.clock
        began = clock.monotonic()
        if self._look is None or self._look.done():
            self._look = asyncio.create_task(self._ask())
        look = self._look
        # A check that ignores its cancellation is left behind, not waited for; until it ends no other one starts.
        await asyncio.wait((look,), timeout=self._timeout)
        if look.done() and not look.cancelled():
            result = look.result()
        else:
            look.cancel()
            result = CheckResult("down", f"no answer within {self._timeout:g} s")
        self._settle(result, clock.monotonic() - began)

    async def _ask(self) -> CheckResult:
        try:
            return await self.check.check()
        except Exception as error:  # noqa: BLE001 - a check that fails is a verdict; its text may hold a DSN
            return CheckResult("down", f"the check failed with {type(error).__name__}")

    def _settle(self, result: CheckResult, seconds: float) -> None:
        before: Status = self._result.status if self._result is not None else "up"
        self._result = result
        self._seconds = seconds
        self._at = self._runtime.clock.monotonic()
        events = self._runtime.events
        if events.listened(CheckChanged) and before != result.status:
            events.emit(
                CheckChanged(check=self.check.name, before=before, after=result.status, reason=result.reason)
            )

    def report(self, now: float) -> CheckReport:
        result = self._result or CheckResult("down", "not looked at yet")
        return CheckReport(self.check.name, result, self.critical, self._seconds, max(0.0, now - self._at))
