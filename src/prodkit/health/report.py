"""The health report: statuses for everybody, reasons and numbers for operators."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

from prodkit.core.check import CheckResult, Status

__all__ = ["CheckReport", "HealthReport", "overall"]

_NEUTRAL: Final[Mapping[Status, str]] = MappingProxyType({"up": "pass", "degraded": "warn", "down": "fail"})
_RANK: Final[Mapping[Status, int]] = MappingProxyType({"up": 0, "degraded": 1, "down": 2})


@dataclass(frozen=True, slots=True)
class CheckReport:
    """One part's latest verdict.

    Args:
        name: the part.
        result: the verdict.
        critical: False for an optional part.
        seconds: duration of the check.
        age: seconds since the verdict.
    """

    name: str
    result: CheckResult
    critical: bool
    seconds: float
    age: float

    @property
    def status(self) -> Status:
        """The part's own verdict."""
        return self.result.status

    @property
    def weight(self) -> Status:
        """Its meaning for the service: an optional part cannot take it down."""
        return "degraded" if self.status == "down" and not self.critical else self.status


@dataclass(frozen=True, slots=True)
class HealthReport:
    """The verdict over all parts.

    Args:
        status: the worst of them, an optional part counting as ``degraded`` at worst.
        checks: the parts by name.
        at: time of the report.
    """

    status: Status
    checks: Mapping[str, CheckReport]
    at: datetime

    @property
    def ok(self) -> bool:
        """True when the service can do its work, perhaps with less: the report then answers 200."""
        return self.status != "down"

    def public(self) -> dict[str, Any]:
        """Return the view for anybody: statuses, no reason, no number, no host."""
        return {
            "status": self.status,
            "checks": {name: {"status": c.status} for name, c in self.checks.items()},
        }

    def private(self) -> dict[str, Any]:
        """Return the view for operators: reasons, details, durations. Keep it behind a token or a role."""
        return {
            "status": self.status,
            "at": self.at.isoformat(),
            "checks": {
                name: {
                    "status": check.status,
                    "critical": check.critical,
                    "reason": check.result.reason,
                    "details": dict(check.result.details),
                    "seconds": round(check.seconds, 6),
                    "age": round(check.age, 3),
                }
                for name, check in self.checks.items()
            },
        }

    def health_json(self, *, private: bool = False) -> dict[str, Any]:
        """Return the ``application/health+json`` document (draft-inadarei-api-health-check): pass, warn, fail.

        Args:
            private: include reasons, durations and the numbers of each part.
        """
        at = self.at.isoformat()
        checks: dict[str, list[dict[str, Any]]] = {}
        for name, check in self.checks.items():
            entry: dict[str, Any] = {"status": _NEUTRAL[check.status]}
            if private:
                entry.update(
                    observedValue=round(check.seconds, 6),
                    observedUnit="s",
                    time=at,
                    output=check.result.reason,
                )
            checks[f"{name}:responseTime" if private else name] = [entry]
            if private:
                for each in _measurements(check, at):
                    checks[f"{name}:{each.pop('measurement')}"] = [each]
        return {"status": _NEUTRAL[self.status], "checks": checks}


def _measurements(check: CheckReport, at: str) -> list[dict[str, Any]]:
    """Return the number details of one part, as measurements."""
    return [
        {"measurement": name, "observedValue": value, "status": _NEUTRAL[check.status], "time": at}
        for name, value in check.result.details.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    ]


def overall(checks: Iterable[CheckReport]) -> Status:
    """Return the worst weight among `checks`; ``up`` where there is none."""
    worst: Status = "up"
    for check in checks:
        if _RANK[check.weight] > _RANK[worst]:
            worst = check.weight
    return worst
