"""One health report over all parts, cheap enough for every probe at once.

::

    report() ──► per part: verdict younger than ttl? ── yes ──► used
                   │ no, and no check in progress
                   ▼
                 check() in a task of its own ── within timeout: its verdict, else down ──► health.changed
                   │ waited for max_wait (first_wait for a first verdict)
                   ▼
                 HealthReport: public(), private(), health_json()
"""

from prodkit.health.health import CheckChanged, Health
from prodkit.health.report import CheckReport, HealthReport

__all__ = ["CheckChanged", "CheckReport", "Health", "HealthReport"]
