"""The processes of a deployment, each with its latest health report: one answers for all."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID, uuid4

from loguru import logger

import prodkit as pk
from prodkit import postgres
from prodkit.core.check import CheckResult
from prodkit.core.lifespan import Managed
from prodkit.errors import ProdkitError

__all__ = ["BEAT", "LOST_AFTER", "Fleet", "Kind", "Process"]

BEAT: Final = 2.0
"""Seconds between two reports of a process."""
LOST_AFTER: Final = 10.0
"""Seconds without a report after which a process counts as gone."""
_FORGET: Final = 3600.0

Kind = Literal["web", "worker", "both"]


@dataclass(frozen=True, slots=True)
class Process:
    """One process, as it last reported."""

    id: UUID
    kind: Kind
    host: str
    pid: int
    started_at: datetime
    age: float
    report: Mapping[str, Any]

    @property
    def works(self) -> bool:
        """Return True when it takes jobs."""
        return self.kind != "web"

    @property
    def in_flight(self) -> int:
        """Jobs that it worked on."""
        worker = self.report.get("checks", {}).get("worker", {})
        return int(worker.get("details", {}).get("in_flight", 0))

    @property
    def troubles(self) -> list[str]:
        """Its parts that are not up."""
        return [name for name, each in self.report.get("checks", {}).items() if each["status"] != "up"]


class Fleet(Managed):
    """Write this process's report every two seconds, and judge those of the others.

    The check is degraded while no process takes jobs, and while a part of another process is not up: a breaker or a
    pool that only its worker sees. The details name every process, for operators.
    """

    name = "workers"

    def __init__(self, db: postgres.Pool, kind: Kind, own: pk.Health) -> None:
        self._db = db
        self._kind = kind
        self._own = own
        self.id = uuid4()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._beat(), name="fleet")

    async def aclose(self) -> None:
        task, self._task = self._task, None
        if task is None:
            return
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        with suppress(ProdkitError, OSError):  # the others notice after ten seconds
            await self._db.execute("delete from processes where id = $1", self.id)

    async def processes(self) -> list[Process]:
        """Those that reported within the last ten seconds, oldest first."""
        rows = await self._db.fetch(
            """select id, kind, host, pid, started_at, extract(epoch from now() - seen_at)::float8 as age, report
               from processes where seen_at > now() - make_interval(secs => $1) order by started_at""",
            LOST_AFTER,
        )
        return [Process(**dict(row)) for row in rows]

    async def check(self) -> CheckResult:
        found = await self.processes()
        details: dict[str, Any] = {f"{each.kind} {each.host}:{each.pid}": dict(each.report) for each in found}
        if not any(each.works for each in found) and self._kind == "web":
            return CheckResult("degraded", "no process takes jobs", details)
        ill = [
            f"{each.host}:{each.pid}: {', '.join(each.troubles)}"
            for each in found
            if each.troubles and each.id != self.id
        ]
        return CheckResult("degraded", "; ".join(ill), details) if ill else CheckResult("up", details=details)

    async def _beat(self) -> None:
        said = False
        while True:
            try:
                report = json.loads(json.dumps((await self._own.report()).private(), default=str))
                await self._write(report)
                said = False
            except (ProdkitError, OSError) as error:
                if not said:  # once an outage
                    logger.warning("this process cannot report its health: {}", type(error).__name__)
                    said = True
            await asyncio.sleep(BEAT)

    async def _write(self, report: dict[str, Any]) -> None:
        await self._db.execute(
            """insert into processes (id, kind, host, pid, report) values ($1, $2, $3, $4, $5)
               on conflict (id) do update set report = excluded.report, seen_at = now()""",
            self.id,
            self._kind,
            socket.gethostname(),
            os.getpid(),
            report,
        )
        await self._db.execute(
            "delete from processes where seen_at < now() - make_interval(secs => $1)", _FORGET
        )
