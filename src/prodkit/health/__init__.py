"""One health report over all parts, cheap enough for every probe at once.

::

    report() ──► per part: verdict younger than ttl? ── yes ──► used
                   │ no, and no check in progress
                   ▼
                 check() in a task of its own ── within timeout: its verdict, else down ──► health.changed
                   │ waited for max_wait (first_wait for a first verdict)
                   ▼
                 HealthReport: public(), private(), health_json()
                   │ Processes: every 5 s into Redis or PostgreSQL
                   ▼
                 ServiceReport: all processes of a service, summed
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prodkit.core.lazy import attach

if TYPE_CHECKING:
    from prodkit.health.health import CheckChanged as CheckChanged, Health as Health
    from prodkit.health.process_stores import PostgresReports as PostgresReports, RedisReports as RedisReports
    from prodkit.health.processes import (
        Processes as Processes,
        ProcessReport as ProcessReport,
        ServiceReport as ServiceReport,
    )
    from prodkit.health.report import CheckReport as CheckReport, HealthReport as HealthReport
else:
    __getattr__, __dir__, __all__ = attach(
        __name__,
        {
            "health": ("CheckChanged", "Health"),
            "process_stores": ("PostgresReports", "RedisReports"),
            "processes": ("ProcessReport", "Processes", "ServiceReport"),
            "report": ("CheckReport", "HealthReport"),
        },
    )
