"""What a health report says, and to whom: statuses for everybody, reasons and numbers for operators."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

from prodkit.core.check import CheckResult, Status

__all__ = ["CheckReport", "HealthReport", "overall"]

_RANK: Final[Mapping[Status, int]] = MappingProxyType({"up": 0, "degraded": 1, "down": 2})


@dataclass(frozen=True, slots=True)
class CheckReport:
    """One part's latest verdict: how long the check took (`seconds`) and how old the verdict is (`age`)."""

    name: str
    result: CheckResult
    critical: bool
    seconds: float
    age: float

    @property
    def status(self) -> Status:
        """What the part said of itself."""
        return self.result.status

    @property
    def weight(self) -> Status:
        """What that means for the service: an optional part cannot take it down."""
        return "degraded" if self.status == "down" and not self.critical else self.status


@dataclass(frozen=True, slots=True)
class HealthReport:
    """The verdict over all parts. ``status`` is the worst of them, an optional part counting as ``degraded``."""

    status: Status
    checks: Mapping[str, CheckReport]
    at: datetime

    @property
    def ok(self) -> bool:
        """Whether the service can do its work, perhaps with less: what answers 200."""
        return self.status != "down"

    def public(self) -> dict[str, Any]:
        """The view for anybody: statuses, no reason, no number, no host."""
        return {
            "status": self.status,
            "checks": {name: {"status": c.status} for name, c in self.checks.items()},
        }

    def private(self) -> dict[str, Any]:
        """The view for operators: reasons, details, durations. Keep it behind a token or on loopback."""
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


def overall(checks: Iterable[CheckReport]) -> Status:
    """The worst weight among `checks`; ``up`` where there is none."""
    worst: Status = "up"
    for check in checks:
        if _RANK[check.weight] > _RANK[worst]:
            worst = check.weight
    return worst
