"""The report: the worst part counts, and only operators see why."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from prodkit import CheckResult
from prodkit.core.check import Status
from prodkit.health.report import CheckReport, HealthReport, overall

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
DETAILS = {"size": 20, "waiting": 1.5, "host": "db-1", "linked": True}


def part(name: str, status: Status, *, critical: bool = True) -> CheckReport:
    return CheckReport(name, CheckResult(status, "refused by db-1", DETAILS), critical, 0.0123456789, 4.56789)


@pytest.mark.parametrize(
    ("parts", "status"),
    [
        ([], "up"),
        ([("up", True), ("up", False)], "up"),
        ([("up", True), ("degraded", True)], "degraded"),
        ([("down", True), ("degraded", True)], "down"),
        ([("down", False)], "degraded"),  # an optional part cannot take the service down
        ([("degraded", False)], "degraded"),
    ],
)
def test_the_worst_part_counts(parts: list[tuple[Status, bool]], status: Status) -> None:
    assert overall(part("p", each, critical=critical) for each, critical in parts) == status


def report(status: Status = "degraded") -> HealthReport:
    parts = part("db", "up"), part("mail", "down", critical=False)
    return HealthReport(status, {each.name: each for each in parts}, AT)


@pytest.mark.parametrize(("status", "ok"), [("up", True), ("degraded", True), ("down", False)])
def test_less_service_is_still_service(status: Status, ok: bool) -> None:
    assert report(status).ok is ok


def test_the_public_view_has_statuses_only() -> None:
    view = report().public()
    assert view == {"status": "degraded", "checks": {"db": {"status": "up"}, "mail": {"status": "down"}}}
    neutral = report().health_json()
    assert neutral == {
        "status": "warn",
        "checks": {"db": [{"status": "pass"}], "mail": [{"status": "fail"}]},
    }


def test_the_private_view_has_reasons_and_numbers() -> None:
    view = report().private()
    assert view["at"] == "2026-01-02T03:04:05+00:00"
    assert view["checks"]["mail"] == {
        "status": "down",
        "critical": False,
        "reason": "refused by db-1",
        "details": DETAILS,
        "seconds": 0.012346,
        "age": 4.568,
    }


def test_the_neutral_format_measures_numbers_and_no_flags() -> None:
    checks = report().health_json(private=True)["checks"]
    assert checks["db:responseTime"] == [
        {
            "status": "pass", "observedValue": 0.012346, "observedUnit": "s", "time": AT.isoformat(),
            "output": "refused by db-1",
        }
    ]  # fmt: skip
    assert checks["mail:size"] == [{"observedValue": 20, "status": "fail", "time": AT.isoformat()}]
    assert {name for name in checks if name.startswith("db:")} == {"db:responseTime", "db:size", "db:waiting"}
