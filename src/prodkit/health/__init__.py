"""How the service is: one report over all parts, cheap enough to be asked by everybody at once."""

from prodkit.health.health import CheckChanged, Health
from prodkit.health.report import CheckReport, HealthReport

__all__ = ["CheckChanged", "CheckReport", "Health", "HealthReport"]
