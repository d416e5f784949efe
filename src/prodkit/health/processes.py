"""The health of a service of several processes: each leaves its report in Redis or PostgreSQL, anyone sums them.

::

    process 1 ── every 5 s ──► store ◄── every 5 s ── process 2
                                 │
    GET /api/health/processes ◄──┘  {"db": {"status": "degraded", "up": 1, "degraded": 1, "down": 0}}
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import platform
import secrets
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast

from prodkit.core.check import CheckResult, Status
from prodkit.core.deadline import Deadline
from prodkit.core.lifespan import Managed
from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.core.validate import Arguments
from prodkit.health.health import Health
from prodkit.health.process_stores import Reports, StoredReport

__all__ = ["ProcessReport", "Processes", "ServiceReport"]

_WORST_FIRST: tuple[Status, ...] = ("down", "degraded", "up")


@dataclass(frozen=True, slots=True)
class ProcessReport:
    """The last report of one process.

    Args:
        process: host, process id and a random part.
        status: its verdict; ``down`` when it is silent.
        age: seconds since the report.
        silent: it has not reported for three intervals: killed, hung or cut off.
        checks: its checks as :meth:`HealthReport.private` shows them.
    """

    process: str
    status: Status
    age: float
    silent: bool
    checks: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ServiceReport:
    """The reports of all processes of a service.

    Args:
        status: ``up`` when every process that reports is, ``down`` when none can serve, else ``degraded``. Silent
            processes are shown and do not count: their place is mostly taken by now.
        processes: the processes.
        complete: False when the store was away, so that this process alone is shown.
    """

    status: Status
    processes: tuple[ProcessReport, ...]
    complete: bool

    @property
    def ok(self) -> bool:
        """True while a process can serve."""
        return self.status != "down"

    def checks(self) -> dict[str, dict[str, Any]]:
        """Return each check over all processes: the worst status, how many are in each, and the sums of its numbers."""
        found: dict[str, dict[str, Any]] = {}
        for process in self.processes:
            if process.silent:
                continue
            for name, check in process.checks.items():
                entry = found.setdefault(
                    name, {"status": "up", "up": 0, "degraded": 0, "down": 0, "details": {}}
                )
                entry[check["status"]] += 1
                for key, value in check.get("details", {}).items():
                    if isinstance(value, int | float) and not isinstance(value, bool):
                        entry["details"][key] = entry["details"].get(key, 0) + value
        for entry in found.values():
            entry["status"] = next(each for each in _WORST_FIRST if entry[each])
        return found

    def public(self) -> dict[str, Any]:
        """Return the view for anybody: statuses, without names of hosts and without numbers."""
        return {
            "status": self.status,
            "checks": {name: {"status": each["status"]} for name, each in self.checks().items()},
        }

    def private(self) -> dict[str, Any]:
        """Return the view for operators. Keep it behind a token or a role."""
        return {
            "status": self.status,
            "complete": self.complete,
            "checks": self.checks(),
            "processes": {
                each.process: {
                    "status": each.status,
                    "age": round(each.age, 3),
                    "silent": each.silent,
                    "checks": each.checks,
                }
                for each in self.processes
            },
        }


class Processes(Managed):
    """Leave this process's health report where the others find it, and sum the reports of all.

    ::

        processes = Processes(health, RedisReports(redis), service="council")
        async with pk.running(redis, processes):
            report = await processes.report()

    A store that is away costs nothing but the sight of the others: the report then shows this process alone, and says
    so. A process that leaves in order takes its report with it; one that was killed is shown as silent for a while.

    Args:
        health: the report of this process.
        store: a RedisReports or a PostgresReports.
        service: its name; processes of one name are summed.
        every: seconds between two reports of a process.
        forget: seconds for which a silent process is shown.
        runtime: clock.
    """

    def __init__(
        self,
        health: Health,
        store: Reports,
        *,
        service: str,
        every: float = 5.0,
        forget: float = 300.0,
        runtime: Runtime = SYSTEM,
    ) -> None:
        check = Arguments("Processes")
        check.instance("health", health, Health, "a Health")
        check.text("service", service)
        check.seconds("every", every)
        check.seconds("forget", forget)
        check.that(forget >= 3 * every, f"forget must be at least three times every, got {forget!r}")
        check.done()
        self.name: str = "processes"
        self.service: str = service
        self.every: float = every
        self.forget: float = forget
        self.process: str = f"{platform.node()}:{os.getpid()}:{secrets.token_hex(4)}"
        """The name of this process."""
        self._health = health
        self._store = store
        self._runtime = runtime
        self._task: asyncio.Task[None] | None = None
        self._failed = ""

    async def start(self) -> None:
        """Leave the first report, and further ones until :meth:`aclose`."""
        if self._task is None:
            await self._publish()
            self._task = asyncio.create_task(self._continue())

    async def aclose(self) -> None:
        """Stop, and take the report away; may be called more than once."""
        task, self._task = self._task, None
        if task is None:
            return
        task.cancel()
        await asyncio.wait((task,))
        with suppress(Exception):  # an unreachable store forgets it by itself
            await self._store.remove(self.service, self.process)

    async def report(self) -> ServiceReport:
        """Return the reports of all processes, this one's as of now. Never raises for a store that is away."""
        own = (await self._health.report()).private()
        try:
            stored = await self._store.list(self.service)
        except Exception:  # noqa: BLE001 - whatever a store raises; a report is wanted most then
            stored, complete = [], False
        else:
            complete = True
        found = {each.process: self._read(each) for each in stored if each.age <= self.forget}
        found[self.process] = ProcessReport(self.process, own["status"], 0.0, False, own["checks"])
        ordered = tuple(found[name] for name in sorted(found))
        return ServiceReport(_sum(each.status for each in ordered if not each.silent), ordered, complete)

    async def check(self) -> CheckResult:
        """Report degraded while the other processes cannot see this one."""
        return CheckResult("degraded", self._failed) if self._failed else CheckResult("up")

    def _read(self, stored: StoredReport) -> ProcessReport:
        silent = stored.age > 3 * self.every
        status: Status = "degraded"
        checks: dict[str, Any] = {}
        with suppress(Exception):  # a report of another version, or not one of ours
            found = json.loads(stored.report)
            for each in found["checks"].values():
                _summable(each.get("details", {}))
            if {found["status"], *(each["status"] for each in found["checks"].values())} <= set(_WORST_FIRST):
                status, checks = cast("Status", found["status"]), found["checks"]
        return ProcessReport(stored.process, "down" if silent else status, stored.age, silent, checks)

    async def _continue(self) -> None:
        while True:
            await self._runtime.clock.sleep(self.every)
            await self._publish()

    async def _publish(self) -> None:
        try:
            with Deadline.detached():
                report = (await self._health.report()).private()
                text = json.dumps(report, default=str)
                await self._store.put(self.service, self.process, text, keep=self.forget)
            self._failed = ""
        except Exception as error:  # noqa: BLE001 - the next one may succeed; its text may hold a DSN
            self._failed = f"the report could not be stored: {type(error).__name__}"

    def __repr__(self) -> str:
        return f"Processes({self.service!r}, every={self.every:g}, process={self.process!r})"


def _sum(statuses: Iterable[Status]) -> Status:
    given = set(statuses)
    if given == {"up"}:
        return "up"
    return "down" if given == {"down"} else "degraded"


def _summable(details: Mapping[str, Any]) -> None:
    """Raise ValueError or OverflowError for numbers that JSON or a sum cannot hold."""
    if not all(math.isfinite(each) for each in details.values() if isinstance(each, int | float)):
        raise ValueError("a number that is not finite")
