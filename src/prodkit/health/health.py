"""One report over all parts.

Health endpoints are asked by balancers, orchestrators, dashboards and visitors at once, and mostly when something
hangs. So each part is checked once per `ttl`, however many ask; a check that takes longer than `timeout` counts as
``down``; and while a check hangs, a report waits `max_wait` seconds for it and then shows the previous verdict.

In a Starlette or FastAPI app: ``app.router.routes.extend(prodkit.web.health_routes(health))``. Liveness is not a
method here: a process that answers is alive, and checking its dependencies would restart it for their faults.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections.abc import Iterable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Protocol

from prodkit.core.check import Check, CheckResult, Status
from prodkit.core.events import Event, Level, Metric, Metrics
from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.core.validate import Arguments
from prodkit.health.report import CheckReport, HealthReport, overall

__all__ = ["CheckChanged", "Health"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckChanged(Event):
    """The status of a part changed. A first verdict is reported only when it is not ``up``.

    Args:
        check: name of the part.
        before: status before; ``up`` for a first verdict.
        after: status now.
        reason: the part's reason.
    """

    name = "health.changed"
    level: ClassVar[Level] = "WARNING"
    metric: ClassVar[Metrics] = Metric(
        "health_changes", labels=("check", "after"), help="Changes of a health check's status."
    )
    check: str
    before: Status
    after: Status
    reason: str


class Reporter(Protocol):
    """A part that reports through ``health()``, because its ``check()`` means something else."""

    name: str

    async def health(self) -> CheckResult:
        """Return the verdict."""
        ...


@dataclass(frozen=True, slots=True)
class _Reporter:
    """A part whose ``check()`` means something else, such as a rate limiter; it reports through ``health()``."""

    part: Any

    @property
    def name(self) -> str:
        return str(self.part.name)

    async def check(self) -> CheckResult:
        result: CheckResult = await self.part.health()
        return result


def _check_of(part: Any) -> Any:
    return _Reporter(part) if inspect.iscoroutinefunction(getattr(part, "health", None)) else part


class Health:
    """The health of everything that is given to it.

    ::

        health = pk.Health(db, redis, claude, optional=(perplexity,))
        report = await health.report()
        report.status            # "up", "degraded" or "down"

    A part that can still serve reports ``degraded`` itself, as ``RedisLink`` does without Redis. A check that raises,
    is cancelled from outside or returns anything but a CheckResult is ``down``.

    Args:
        checks: anything with a ``name`` and an async ``check()``, or an async ``health()`` where ``check`` has another
            meaning (a rate limiter).
        optional: parts whose ``down`` makes the service only ``degraded``.
        timeout: seconds that one check may take.
        ttl: seconds for which a verdict is used.
        max_wait: seconds that :meth:`report` waits for a check with an older verdict; a part that was never checked is
            waited for up to `first_wait`.
        first_wait: seconds that a report waits for a first verdict, below the 1 s after which Kubernetes gives up.
        runtime: clock and events.
    """

    def __init__(
        self,
        *checks: Check | Reporter,
        optional: Iterable[Check | Reporter] = (),
        timeout: float = 2.0,
        ttl: float = 2.0,
        max_wait: float = 0.05,
        first_wait: float = 0.8,
        runtime: Runtime = SYSTEM,
    ) -> None:
        parts, extra = tuple(map(_check_of, checks)), tuple(map(_check_of, optional))
        arguments = Arguments("Health")
        arguments.seconds("timeout", timeout)
        arguments.seconds("ttl", ttl)
        arguments.seconds("max_wait", max_wait)
        arguments.seconds("first_wait", first_wait)
        everything: list[Check] = []
        given: tuple[object, ...] = (*parts, *extra)
        for check in given:
            if not isinstance(check, Check):
                arguments.that(False, f"{check!r} has no name and async check()")
            elif not any(check is known or check == known for known in everything):
                everything.append(check)
        names = [check.name for check in everything]
        for name in sorted({name for name in names if names.count(name) > 1}):
            arguments.that(False, f"two parts are called {name!r}")
        arguments.done()
        self.timeout: float = timeout
        self.ttl: float = ttl
        self.max_wait: float = max_wait
        self.first_wait: float = first_wait
        self._runtime = runtime
        self._started = False
        self._probes = tuple(
            _Probe(check, not any(check is each or check == each for each in extra), timeout, runtime)
            for check in everything
        )

    async def report(self) -> HealthReport:
        """Return the state of all parts, not older than `ttl` except for one that does not answer.

        Never raises for anything that a check does. Cancelling the caller leaves the checks running for the others.
        """
        loop = asyncio.get_running_loop()
        waiting: dict[_Probe, asyncio.Task[None]] = {}
        for probe in self._probes:
            task = probe.refresh(loop, self.ttl)
            if task is not None:
                waiting[probe] = task
        if waiting:
            await asyncio.wait(waiting.values(), timeout=self.max_wait)
            unknown = [task for probe, task in waiting.items() if not probe.known and not task.done()]
            if unknown:
                await asyncio.wait(unknown, timeout=self.first_wait)
        now = self._runtime.clock.monotonic()
        reports = {probe.check.name: probe.report(now) for probe in self._probes}
        found = HealthReport(overall(reports.values()), MappingProxyType(reports), self._runtime.clock.now())
        self._started = self._started or found.ok
        return found

    async def started(self, *, within: float = 0.5) -> bool:
        """Return True once a report was not ``down``: the answer of a startup probe, which then stays True.

        Args:
            within: seconds to wait for a report; the checks continue afterwards.
        """
        if not self._started:
            asking = asyncio.ensure_future(self.report())
            await asyncio.wait((asking,), timeout=within)
            if not asking.done():
                asking.cancel()
        return self._started

    def __repr__(self) -> str:
        names = ", ".join(p.check.name + ("" if p.critical else "?") for p in self._probes)
        return f"Health({names}; timeout={self.timeout}, ttl={self.ttl})"


class _Probe:
    """One check with its latest verdict; it runs at most once at a time, whatever happens to its callers."""

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
        """Return the check in progress, started where the verdict is older than `ttl`; None where none is needed."""
        if self._loop is not loop:
            self._loop = loop
            self._forget()
        if self._watch is not None and not self._watch.done():
            return self._watch
        if self._result is not None and self._runtime.clock.monotonic() - self._at < ttl:
            return None
        # A context of its own: the Deadline and the request id of the first caller are not the check's.
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
        elif look.done():
            result = CheckResult("down", "the check was cancelled")
        else:
            look.cancel()
            result = CheckResult("down", f"no answer within {self._timeout:g} s")
        self._settle(result, clock.monotonic() - began)

    async def _ask(self) -> CheckResult:
        try:
            result: object = await self.check.check()
        except asyncio.CancelledError:
            raise
        # A check that fails is a verdict, also when a library raises a BaseException; its text may hold a DSN.
        except BaseException as error:  # noqa: BLE001
            return CheckResult("down", f"the check failed with {type(error).__name__}")
        if not isinstance(result, CheckResult) or result.status not in ("up", "degraded", "down"):
            return CheckResult("down", f"the check returned {type(result).__name__} instead of a CheckResult")
        return result

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
        result = self._result or CheckResult("down", "not checked yet")
        return CheckReport(self.check.name, result, self.critical, self._seconds, max(0.0, now - self._at))
